// The service's addresses, below whatever prefix the page is reached at. No request goes to any other host.

let token = "";

export const useToken = (given) => { token = given; };

/** A request without an answer: `status` is 0 where the service was not reached. */
export class Problem extends Error {
  constructor(status, told = {}) {
    super(told.detail || (status ? `the service answered with status ${status}` : "the service cannot be reached"));
    this.status = status;
    this.rejected = told.error === "no_chest_radiograph";
  }

  /** Whether the same file may be answered later. */
  get passing() {
    return [0, 401, 408, 429].includes(this.status) || this.status >= 500;
  }
}

/** The champion's contract. */
export async function model() {
  const answer = await fetch("model", { headers: headers() }).catch(() => { throw new Problem(0); });
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Problem(answer.status, told);
  return told;
}

/** The answer to a file, with its map; `progress` hears of the share that has been sent. */
export const explain = async (file, signal, progress) => JSON.parse(await (await post("explain", file, signal, progress)).text());

/** The image as the service reads it, a PNG. */
export const picture = (file, signal) => post("picture", file, signal, () => {});

const headers = () => (token ? { Authorization: `Bearer ${token}` } : {});

// fetch() does not tell how much of a body has been sent.
function post(route, file, signal, progress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const body = new FormData();
    body.append("image", file, "image"); // the file's own name stays in this page
    request.open("POST", route);
    for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
    request.responseType = "blob";
    request.upload.onprogress = (event) => progress(event.lengthComputable ? event.loaded / event.total : 0);
    request.onerror = request.onabort = () => reject(new Problem(0));
    request.onload = async () => {
      if (request.status === 200) return resolve(request.response);
      const told = await request.response.text().then(JSON.parse).catch(() => ({}));
      return reject(new Problem(request.status, told));
    };
    signal.addEventListener("abort", () => request.abort());
    request.send(body);
  });
}

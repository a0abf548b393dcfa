// The score's words, and its place between the two thresholds.

/** A score in digits that do not hide on which side of a threshold it lies. */
export function digits(score, thresholds) {
  for (let places = 3; places < 9; places += 1) {
    const text = score.toFixed(places);
    const apart = Object.values(thresholds).every((limit) => (Number(text) >= Number(limit.toFixed(places))) === (score >= limit));
    if (apart) return text;
  }
  return String(score);
}

/** The score in a sentence. */
export function sentence({ score, thresholds }) {
  const [shown, lower, upper] = [score, thresholds.lower, thresholds.upper].map((value) => digits(value, thresholds));
  return `Score ${shown} on a scale from 0 to 1; lower threshold ${lower}, upper threshold ${upper}. It is no patient's risk.`;
}

/** Draw the scale into `place`: three zones, the two thresholds, and a needle at the score. */
export function draw(place, answer) {
  const { score, thresholds: { lower, upper } } = answer;
  const zone = (kind, share) => {
    const part = document.createElement("span");
    part.className = `zone ${kind}`;
    part.style.width = `${100 * share}%`;
    return part;
  };
  const mark = (kind, value, text) => {
    const part = document.createElement("span");
    part.className = `mark ${kind} ${value < 0.2 ? "start" : value > 0.8 ? "end" : ""}`;
    part.style.left = `${100 * value}%`;
    part.dataset.text = text;
    return part;
  };
  place.replaceChildren(
    zone("none", lower), zone("between", upper - lower), zone("signs", 1 - upper),
    mark("lower", lower, `lower ${digits(lower, answer.thresholds)}`),
    mark("upper", upper, `upper ${digits(upper, answer.thresholds)}`),
    mark("needle", score, ""),
  );
  place.setAttribute("aria-label", sentence(answer));
}

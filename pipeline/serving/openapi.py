"""BentoML's OpenAPI document, completed: the addresses of the page, and what is refused."""

from typing import Any

from pipeline.serving.schemas import NOTICE

REFUSED = {
    "400": "The body is no multipart form with one file in the field `image`.",
    "401": "The bearer token is missing or wrong.",
    "403": "A browser sends it for a page of another site.",
    "408": "The body took too long.",
    "413": "Too many bytes, pixels, frames, too much metadata, or more work than one upload may cost.",
    "415": "Not a type of file that is read.",
    "421": "The header Host names another host.",
    "422": "The file cannot be decoded, or shows no frontal chest X-ray.",
    "429": "Too many requests of this address at once.",
    "503": "Too many requests at once, no turn in time, or no champion is loaded yet.",
}
PROBLEM = {
    "type": "object",
    "required": ["error", "detail"],
    "properties": {
        "error": {"type": "string", "description": "A stable word for programs."},
        "detail": {"type": "string", "description": "What is wrong and how much, for people."},
    },
    "additionalProperties": {"type": "number"},
}


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """Describe the service in its own words and add what BentoML does not know."""
    document["info"] = {
        "title": "Pneumonia in children's chest radiographs",
        "version": document["info"]["version"],
        "description": NOTICE,
    }
    paths, schemas = document["paths"], document["components"]["schemas"]
    schemas["Problem"] = PROBLEM
    upload = paths["/predict"]["post"]["requestBody"]
    for route in ("/predict", "/explain"):
        answers = paths[route]["post"]["responses"]
        paths[route]["post"]["responses"] = {"200": answers.get("200") or answers[200]} | _refusals(REFUSED)
    paths["/picture"] = {
        "post": {
            "operationId": "picture",
            "description": "The uploaded image as a grey PNG, at most 1600 pixels long: what the page shows.",
            "requestBody": upload,
            "responses": {"200": {"description": "A PNG.", "content": {"image/png": {}}}} | _refusals(REFUSED),
        }
    }
    paths["/model"] = {
        "get": {
            "operationId": "model",
            "description": "The contract of the champion, and the runtime and precision that it is served with.",
            "responses": {"200": {"description": "The contract.", "content": {"application/json": {}}}}
            | _refusals({code: REFUSED[code] for code in ("401", "421", "503")}),
        }
    }
    return document


def _refusals(described: dict[str, str]) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {code: {"description": text, "content": content} for code, text in described.items()}

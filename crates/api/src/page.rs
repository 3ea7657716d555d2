//! Renders the OpenAPI document as a page: plain HTML, no script, no external resources.

use std::fmt::Write;

use serde_json::Value;

use crate::problem::Kind;

/// The page's style; its content security policy allows exactly this text.
pub(crate) const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8884;--soft:#8882}\
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem}\
h2{margin-top:2.5rem;border-bottom:1px solid var(--line);text-transform:capitalize}\
section{margin:1.5rem 0;padding:.2rem 1rem 1rem;border:1px solid var(--line);border-radius:.5rem}\
h3{font-size:1.05rem}h3 b{font-family:ui-monospace,monospace;padding:.1rem .4rem;border-radius:.3rem;background:var(--soft)}\
h3 code{font-weight:600}code,pre{font-family:ui-monospace,monospace;font-size:.9em}\
table{border-collapse:collapse;width:100%;display:block;overflow-x:auto}\
th,td{text-align:left;vertical-align:top;padding:.25rem .75rem .25rem 0;border-top:1px solid var(--line)}\
th{font-weight:600}.soft{opacity:.75}nav a{margin-right:1rem;white-space:nowrap}";

/// The page for `document`, an OpenAPI document.
pub(crate) fn render(document: &Value) -> String {
    let mut out = String::with_capacity(64 * 1024);
    let title = text(&document["info"]["title"]);
    let _ = write!(
        out,
        "<!doctype html><html lang=en><meta charset=utf-8>\
         <meta name=viewport content=\"width=device-width\">\
         <title>{title} API</title><style>{STYLE}</style>\
         <h1>{title} API <small class=soft>{}</small></h1><p>{}</p>\
         <p>As data: <a href=\"/openapi.json\">openapi.json</a></p><nav>",
        text(&document["info"]["version"]),
        text(&document["info"]["description"]),
    );
    let tags = document["tags"].as_array().map_or(&[][..], Vec::as_slice);
    for tag in tags {
        let name = text(&tag["name"]);
        let _ = write!(out, "<a href=\"#{name}\">{name}</a>");
    }
    out.push_str("<a href=\"#schemas\">schemas</a><a href=\"#problems\">problems</a></nav>");
    for tag in tags {
        let name = text(&tag["name"]);
        let _ = write!(
            out,
            "<h2 id=\"{name}\">{name}</h2><p class=soft>{}</p>",
            text(&tag["description"])
        );
        for (path, item) in entries(&document["paths"]) {
            for (method, operation) in entries(item) {
                if operation["tags"][0] == tag["name"] {
                    operation_section(&mut out, method, path, operation);
                }
            }
        }
    }
    out.push_str("<h2 id=schemas>Schemas</h2>");
    for (name, schema) in entries(&document["components"]["schemas"]) {
        schema_section(&mut out, name, schema);
    }
    problems(&mut out);
    out.push_str("</html>");
    out
}

fn operation_section(out: &mut String, method: &str, path: &str, operation: &Value) {
    let scope = match &operation["security"][0]["token"][0] {
        Value::String(scope) => format!("scope {}", escape(scope)),
        _ => "no token needed".to_owned(),
    };
    let _ = write!(
        out,
        "<section><h3><b>{}</b> <code>{}</code></h3>\
         <p>{}. {} <span class=soft>({scope})</span></p>",
        escape(&method.to_uppercase()),
        escape(path),
        text(&operation["summary"]),
        text(&operation["description"]),
    );
    let parameters = operation["parameters"].as_array().map_or(&[][..], Vec::as_slice);
    if !parameters.is_empty() {
        out.push_str("<table><tr><th>Parameter<th>In<th>Type<th></tr>");
        for p in parameters {
            let needed =
                if p["required"] == true { "" } else { " <span class=soft>optional</span>" };
            let _ = write!(
                out,
                "<tr><td><code>{}</code>{needed}<td>{}<td>{}<td>{}</tr>",
                text(&p["name"]),
                text(&p["in"]),
                kind(&p["schema"]),
                text(&p["description"]),
            );
        }
        out.push_str("</table>");
    }
    for (media, content) in entries(&operation["requestBody"]["content"]) {
        let _ = write!(
            out,
            "<p>Body: {} as <code>{}</code></p>",
            kind(&content["schema"]),
            escape(media)
        );
    }
    out.push_str("<table><tr><th>Answer<th>Body<th></tr>");
    for (status, response) in entries(&operation["responses"]) {
        let body = entries(&response["content"])
            .map(|(media, c)| {
                format!("{} <span class=soft>{}</span>", kind(&c["schema"]), escape(media))
            })
            .collect::<Vec<_>>()
            .join(", ");
        let _ = write!(
            out,
            "<tr><td>{}<td>{body}<td>{}</tr>",
            escape(status),
            text(&response["description"])
        );
    }
    out.push_str("</table></section>");
}

fn schema_section(out: &mut String, name: &str, schema: &Value) {
    let name = escape(name);
    let _ = write!(
        out,
        "<section id=\"schema-{name}\"><h3><code>{name}</code></h3><p>{}</p>",
        text(&schema["description"])
    );
    if let Some(words) = schema["enum"].as_array() {
        let words: Vec<String> =
            words.iter().map(|w| format!("<code>{}</code>", text(w))).collect();
        let _ = write!(out, "<p>One of {}</p>", words.join(", "));
    }
    let needed: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if schema["properties"].is_object() {
        out.push_str("<table><tr><th>Field<th>Type<th></tr>");
        for (field, property) in entries(&schema["properties"]) {
            let mark = if needed.contains(&field.as_str()) {
                ""
            } else {
                " <span class=soft>optional</span>"
            };
            let _ = write!(
                out,
                "<tr><td><code>{}</code>{mark}<td>{}<td>{}</tr>",
                escape(field),
                kind(property),
                description(property)
            );
        }
        out.push_str("</table>");
    }
    out.push_str("</section>");
}

fn problems(out: &mut String) {
    out.push_str("<h2 id=problems>Problems</h2><table><tr><th>type<th>Status<th></tr>");
    for kind in Kind::ALL {
        let _ = write!(
            out,
            "<tr><td><code>{}</code><td>{}<td>{}</tr>",
            kind.uri(),
            kind.status().as_u16(),
            kind.title()
        );
    }
    out.push_str("</table>");
}

/// A field's description. That of an optional field of a named type stands beside the reference.
fn description(property: &Value) -> String {
    let alternatives = property["oneOf"].as_array().map_or(&[][..], Vec::as_slice);
    std::iter::once(property)
        .chain(alternatives)
        .map(|schema| text(&schema["description"]))
        .find(|description| !description.is_empty())
        .unwrap_or_default()
}

/// A schema's type in a few words, with a link where it has a name.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|r| r.rsplit('/').next()) {
        let name = escape(name);
        return format!("<a href=\"#schema-{name}\">{name}</a>");
    }
    for some in ["oneOf", "anyOf", "allOf"] {
        if let Some(list) = schema[some].as_array() {
            let known = list.iter().filter(|s| s["type"] != "null");
            return known.map(kind).collect::<Vec<_>>().join(" or ");
        }
    }
    let mut words = match &schema["type"] {
        Value::String(one) => one.clone(),
        Value::Array(many) => many
            .iter()
            .filter_map(Value::as_str)
            .filter(|t| *t != "null")
            .collect::<Vec<_>>()
            .join(" or "),
        _ => String::new(),
    };
    if words == "array" {
        return format!("list of {}", kind(&schema["items"]));
    }
    if let Some(format) = schema["format"].as_str() {
        words = format!("{words} ({format})");
    }
    escape(&words)
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

/// A text of the document, escaped, with `code` in backticks marked up.
fn text(value: &Value) -> String {
    let escaped = escape(value.as_str().unwrap_or_default());
    let mut out = String::with_capacity(escaped.len());
    for (n, part) in escaped.split('`').enumerate() {
        if n > 0 {
            out.push_str(if n % 2 == 1 { "<code>" } else { "</code>" });
        }
        out.push_str(part);
    }
    out
}

fn escape(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    for c in raw.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_escapes_what_it_shows_and_runs_nothing() {
        let document = serde_json::json!({
            "info": { "title": "<script>alert(1)</script>", "version": "1", "description": "`a`" },
            "tags": [{ "name": "x\"y" }],
        });
        let page = render(&document);
        assert!(!page.contains("<script"));
        assert!(page.contains("x&quot;y") && page.contains("<code>a</code>"));
    }

    #[test]
    fn an_optional_field_of_a_named_type_is_described() {
        let document = serde_json::to_value(crate::openapi()).unwrap();
        let owner = document["components"]["schemas"]["Provision"]["properties"]["owner"].clone();
        assert_eq!(kind(&owner), "<a href=\"#schema-Owner\">Owner</a>");
        assert!(description(&owner).starts_with("The owner"), "{owner}");
    }

    #[test]
    fn every_path_is_on_the_page() {
        let document = serde_json::to_value(crate::openapi()).unwrap();
        let page = render(&document);
        for (path, _) in entries(&document["paths"]) {
            assert!(page.contains(&format!("<code>{path}</code>")), "{path}");
        }
    }
}

//! Parses `multipart/form-data`, the format of ISO image uploads (RFC 7578; pve-http-server `AnyEvent.pm`
//! `file_upload_multipart`).

use hyper::body::Bytes;

/// A file in a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// The file name given by the client.
    pub filename: String,
    /// The content.
    pub data: Bytes,
}

/// A form: plain fields and a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form {
    /// Names and values in the order in which they were sent.
    pub fields: Vec<(String, String)>,
    /// The part named `filename`.
    pub file: Option<Upload>,
}

/// Returns the boundary in a content type; `None` if it is not a multipart form.
pub fn boundary(content_type: &str) -> Option<String> {
    let mut parts = content_type.split(';').map(str::trim);
    if !parts.next()?.eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let value = parts.find_map(|part| part.strip_prefix("boundary="))?;
    let value = value.trim_matches('"');
    (!value.is_empty() && value.len() <= 200).then(|| value.to_owned())
}

/// Parses a form; the error describes why it is not valid.
pub fn parse(body: &Bytes, boundary: &str) -> Result<Form, String> {
    let delimiter = format!("--{boundary}");
    let mut form = Form::default();
    let mut at = match body.starts_with(delimiter.as_bytes()) {
        true => delimiter.len(),
        false => return Err("wrong boundary".into()),
    };
    let separator = format!("\r\n{delimiter}");
    loop {
        let rest = &body[at..];
        if rest.starts_with(b"--") {
            return Ok(form);
        }
        let rest = rest.strip_prefix(b"\r\n").ok_or("unexpected bytes after a boundary")?;
        at = body.len() - rest.len();
        let head_end = find(rest, b"\r\n\r\n").ok_or("a part without headers")?;
        let head = std::str::from_utf8(&rest[..head_end]).map_err(|_| "headers that are no text")?;
        let (start, tail) = (at + head_end + 4, &rest[head_end + 4..]);
        let length = find(tail, separator.as_bytes()).ok_or("a part without an end")?;
        add(&mut form, head, body.slice(start..start + length))?;
        at = start + length + separator.len();
    }
}

fn add(form: &mut Form, head: &str, data: Bytes) -> Result<(), String> {
    let disposition = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-disposition").then(|| value.trim())
    });
    let disposition = disposition.ok_or("a part without a content disposition")?;
    let parameter = |wanted: &str| {
        disposition.split(';').map(str::trim).find_map(|part| {
            let (name, value) = part.split_once('=')?;
            (name == wanted).then(|| value.trim_matches('"').to_owned())
        })
    };
    let name = parameter("name").ok_or("a part without a name")?;
    match parameter("filename") {
        Some(filename) if name == "filename" => form.file = Some(Upload { filename, data }),
        Some(_) => return Err(format!("unexpected file '{name}'")),
        None => {
            let text = String::from_utf8(data.to_vec()).map_err(|_| format!("'{name}' is not text"))?;
            form.fields.push((name, text));
        }
    }
    Ok(())
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(data: &str) -> Bytes {
        Bytes::from(crate::provider::pve::multipart("b", "user-data-100.iso", data.as_bytes()).1)
    }

    #[test]
    fn parse_reads_form_with_file() {
        let form = parse(&sample("\0line\r\n--nearly"), "b").unwrap();
        assert_eq!(form.fields, [("content".to_owned(), "iso".to_owned())]);
        let file = form.file.unwrap();
        assert_eq!((file.filename.as_str(), &file.data[..]), ("user-data-100.iso", &b"\0line\r\n--nearly"[..]));
    }

    #[test]
    fn truncated_form_is_an_error() {
        let whole = sample("data");
        for end in 0..whole.len() - 4 {
            assert!(parse(&whole.slice(..end), "b").is_err(), "{end}");
        }
        assert!(parse(&whole, "other").is_err());
    }
}

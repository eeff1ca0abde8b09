//! Parameters as they were written, and how each kind is read.

use super::table::find;

/// What a parameter was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    /// `name="text"`
    Text(Vec<u8>),
    /// `name=["text", "text"]`
    Texts(Vec<Vec<u8>>),
}

/// The parameters that were given. Reading a wrong one notes an error and goes on with the default, so that all errors are told at once.
#[derive(Default)]
pub struct Values {
    given: Vec<(&'static str, Given)>,
}

/// `name="what": has to be ...`
pub(super) fn wrong(name: &str, why: &str) -> String {
    format!("parameter \"{name}\" {why}; allowed is {}", find(name).allowed)
}

impl Values {
    /// Notes that `name` was given.
    pub fn put(&mut self, name: &'static str, given: Given) {
        self.given.push((name, given));
    }

    /// True if it was given.
    pub fn has(&self, name: &str) -> bool {
        self.given.iter().any(|(given, _)| *given == name)
    }

    /// All texts of a parameter. The errors never show a text: it may be a password in the wrong place.
    pub fn texts(&self, name: &str, errors: &mut Vec<String>) -> Vec<String> {
        let Some((_, given)) = self.given.iter().find(|(given, _)| *given == name) else { return Vec::new() };
        let bytes: Vec<&Vec<u8>> = match given {
            Given::Text(text) => vec![text],
            Given::Texts(texts) => texts.iter().collect(),
        };
        let read = bytes.into_iter().map(|text| String::from_utf8(text.clone())).collect::<Result<Vec<_>, _>>();
        read.unwrap_or_else(|_| {
            errors.push(wrong(name, "is not UTF-8"));
            Vec::new()
        })
    }

    /// A text that is not empty.
    pub fn text(&self, name: &str, errors: &mut Vec<String>) -> Option<String> {
        let text = self.texts(name, errors).pop()?;
        if text.trim().is_empty() {
            errors.push(wrong(name, "is empty"));
            return None;
        }
        if text.contains(['\0', '\n']) {
            errors.push(wrong(name, "holds a NUL or a line end"));
            return None;
        }
        Some(text)
    }

    /// A whole number within bounds.
    pub fn number(&self, name: &str, (default, least, most): (u64, u64, u64), errors: &mut Vec<String>) -> u64 {
        let Some(text) = self.text(name, errors) else { return default };
        match text.trim().parse() {
            Ok(number) if (least..=most).contains(&number) => number,
            _ => {
                errors.push(wrong(name, &format!("is {text:?}")));
                default
            }
        }
    }

    /// A size within bounds.
    pub fn size(&self, name: &str, (default, least, most): (u64, u64, u64), errors: &mut Vec<String>) -> u64 {
        let Some(text) = self.text(name, errors) else { return default };
        match size(text.trim()) {
            Some(bytes) if (least..=most).contains(&bytes) => bytes,
            _ => {
                errors.push(wrong(name, &format!("is {text:?}")));
                default
            }
        }
    }

    /// A switch.
    pub fn switch(&self, name: &str, errors: &mut Vec<String>) -> Option<bool> {
        let text = self.text(name, errors)?;
        match text.trim().to_ascii_lowercase().as_str() {
            "on" | "yes" | "1" => Some(true),
            "off" | "no" | "0" => Some(false),
            _ => {
                errors.push(wrong(name, &format!("is {text:?}")));
                None
            }
        }
    }

    /// One of these words.
    pub fn word<T: Copy>(&self, name: &str, words: &[(&str, T)], errors: &mut Vec<String>) -> Option<T> {
        let text = self.text(name, errors)?;
        let found = words.iter().find(|(word, _)| text.trim().eq_ignore_ascii_case(word));
        if found.is_none() {
            errors.push(wrong(name, &format!("is {text:?}")));
        }
        found.map(|(_, value)| *value)
    }
}

/// Bytes, or a number with k, m, g or t: powers of 1024.
fn size(text: &str) -> Option<u64> {
    let shift = match text.as_bytes().last()?.to_ascii_lowercase() {
        b'k' => 10,
        b'm' => 20,
        b'g' => 30,
        b't' => 40,
        _ => 0,
    };
    let digits = if shift == 0 { text } else { &text[..text.len() - 1] };
    digits.trim().parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [("0", 0), ("4096", 4096), ("64k", 65536), ("1G", 1 << 30), ("2 m", 2 << 20)] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for text in ["", "k", "-1", "1.5g", "1gb", "99999999999999999999", "18446744073709551615k"] {
            assert_eq!(size(text), None, "{text}");
        }
    }
}

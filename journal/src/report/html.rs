//! Text and paths as HTML takes them.

use std::path::{Component, Path};

/// Text that is no markup, within elements and within quoted attributes.
pub(super) fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            other => html.push(other),
        }
    }
    html
}

/// Where a page in `folder` finds `path`, which may start at `folder`: a relative address where that is possible, so that the folder
/// can be moved.
pub(super) fn address(folder: &Path, path: &Path) -> String {
    let inside = path.strip_prefix(folder).unwrap_or(path);
    let parts: Vec<String> = inside
        .components()
        .filter_map(|component| match component {
            Component::Prefix(drive) => Some(drive.as_os_str().to_string_lossy().into_owned()),
            Component::RootDir | Component::CurDir => None,
            Component::ParentDir => Some("..".to_owned()),
            Component::Normal(name) => Some(percent_encoded(&name.to_string_lossy())),
        })
        .collect();
    let joined = parts.join("/");
    if inside.is_absolute() {
        format!("file:///{joined}")
    } else {
        joined
    }
}

fn percent_encoded(name: &str) -> String {
    let mut encoded = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded += &format!("%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_escaped() {
        assert_eq!(
            escaped("<a b=\"c\">&'"),
            "&lt;a b=&quot;c&quot;&gt;&amp;&#39;"
        );
    }

    #[test]
    fn addresses_are_relative_where_they_can_be() {
        let run = Path::new("/runs/a");
        let of = |path: &str| address(run, Path::new(path));
        assert_eq!(of("previews/a b#1.wav"), "previews/a%20b%231.wav");
        assert_eq!(of("/runs/a/previews/x.wav"), "previews/x.wav");
        assert_eq!(of("javascript:alert(1)"), "javascript%3Aalert%281%29");
    }

    #[cfg(unix)]
    #[test]
    fn an_address_elsewhere_is_absolute() {
        let address = address(Path::new("/runs/a"), Path::new("/base/x.wav"));
        assert_eq!(address, "file:///base/x.wav");
    }
}

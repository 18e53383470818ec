//! The page: one file without scripts, which asks nobody else for anything.

use std::fmt::Write as _;

use super::Examples;

const HEAD: &str = r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Lorelei: examples</title>
<style>
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
.clips { display: grid; grid-template-columns: repeat(auto-fit, minmax(16rem, 1fr)); gap: 1rem; }
figure { margin: 0; }
figcaption { margin-bottom: .25rem; }
audio { width: 100%; }
</style>
</head>
<body>
<main>
<h1>Lorelei: examples</h1>
<p>Families of music that the embedded base never heard. Of each you hear what the base makes of a seed, what it makes of the same
seed with an adapter trained for about a minute on 16 recordings, and a real piece that was not trained on. Nothing was asked for in words. The
clips are the first of their sets, not the best; all are brought to one loudness and coded as Opus.</p>
"#;

/// The page's HTML.
pub(super) fn render(examples: &[Examples], base_sha256: &str) -> String {
    let mut text = HEAD.to_owned();
    for Examples { family, clips } in examples {
        let heading = heading(family);
        let _ = writeln!(
            text,
            "<section aria-labelledby=\"{family}\">\n<h2 id=\"{family}\">{heading}</h2>\n<div class=\"clips\">"
        );
        for (title, file) in clips {
            let _ = writeln!(
                text,
                "<figure><figcaption>{title}</figcaption>\n<audio controls preload=\"none\" src=\"{file}\" aria-label=\"{heading}: {title}\">\
                 <a href=\"{file}\">{file}</a></audio></figure>"
            );
        }
        text.push_str("</div>\n</section>\n");
    }
    let _ = writeln!(
        text,
        "<p>Made by <code>cargo xtask example-clips</code> with the base <code>{}</code>. How near the clips of whole sets are to the real \
         ones is in the <a href=\"../../README.md\">README</a>'s table.</p>\n</main>\n</body>\n</html>",
        shown(base_sha256)
    );
    text
}

/// As much of a base's hash as the page shows.
pub(super) fn shown(base_sha256: &str) -> &str {
    &base_sha256[..12.min(base_sha256.len())]
}

fn heading(family: &str) -> String {
    let mut letters = family.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first
        .into_iter()
        .chain(letters)
        .collect::<String>()
        .replace('-', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_clip_has_a_player_with_a_name_and_nothing_comes_from_elsewhere() {
        let examples = Examples {
            family: "village".to_owned(),
            clips: vec![("Without", "village-base.opus".to_owned())],
        };
        let page = render(&[examples], &"ab".repeat(32));
        assert!(page.contains("src=\"village-base.opus\" aria-label=\"Village: Without\""));
        assert!(page.contains("<h2 id=\"village\">Village</h2>"));
        assert!(!page.contains("http") && !page.contains("<script"));
        assert!(page.ends_with("</html>\n"));
    }
}

//! Words by jieba, and 不, 一 and 儿 joined to their neighbours (`merge_yi`, `merge_bu`, `merge_er`).

use jieba_rs::Jieba;

pub(super) fn cut(jieba: &Jieba, text: &str) -> Vec<String> {
    let words = jieba
        .cut(text, true)
        .into_iter()
        .map(|token| token.word.to_owned())
        .collect();
    merge_er(merge_bu(merge_yi(words)))
}

/// 想 一 想 becomes one word, and a lone 一 goes to the word behind it.
fn merge_yi(words: Vec<String>) -> Vec<String> {
    let mut merged: Vec<String> = Vec::with_capacity(words.len());
    for (index, word) in words.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|before| words.get(before));
        let second_before = index.checked_sub(2).and_then(|before| words.get(before));
        let is_between_equals = word == "一" && before.is_some() && before == words.get(index + 1);
        if is_between_equals {
            // The reference counts in the new list with the old list's index.
            if let Some(place) = merged.get_mut(index - 1) {
                *place = format!("{place}一{place}");
            } else {
                merged.push(word.clone());
                merged.extend(words.get(index + 1).cloned());
            }
        } else if !(before.is_some_and(|before| before == "一") && second_before == Some(word)) {
            merged.push(word.clone());
        }
    }
    let mut joined: Vec<String> = Vec::with_capacity(merged.len());
    for word in merged {
        match joined.last_mut() {
            Some(last) if last == "一" => last.push_str(&word),
            _ => joined.push(word),
        }
    }
    joined
}

/// 不 goes to the word behind it; at the end of a line the reference loses it.
fn merge_bu(words: Vec<String>) -> Vec<String> {
    let mut merged = Vec::with_capacity(words.len());
    let mut after_bu = false;
    for word in words {
        let is_bu = word == "不";
        if !is_bu {
            merged.push(if after_bu { format!("不{word}") } else { word });
        }
        after_bu = is_bu;
    }
    merged
}

/// 儿 goes to the word before it.
fn merge_er(words: Vec<String>) -> Vec<String> {
    let mut merged: Vec<String> = Vec::with_capacity(words.len());
    for word in words {
        match merged.last_mut() {
            Some(last) if word == "儿" => last.push_str(&word),
            _ => merged.push(word),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(words: &str) -> Vec<String> {
        words.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn neighbours_are_joined() {
        assert_eq!(merge_yi(list("想 一 想 吧")), list("想一想 吧"));
        assert_eq!(merge_yi(list("好 一 天")), list("好 一天"));
        assert_eq!(merge_yi(list("一 一")), list("一一"));
        assert_eq!(merge_bu(list("不 是 不 不 好 不")), list("不是 不好"));
        assert_eq!(merge_er(list("儿 花 儿 儿")), list("儿 花儿儿"));
    }
}

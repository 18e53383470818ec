//! Tones that change beside other tones (`chinese_to_bopomofo`, `bu_sandhi`, `yi_sandhi`, `er_sandhi`), the reference's slips
//! included: its models were trained on them.

const TONE_MARKS: &str = "˙ˊˇˋ";
const NEUTRAL: &str = "˙";
const FIRST: &str = "";
const SECOND: &str = "ˊ";
const THIRD: char = 'ˇ';
const FOURTH: &str = "ˋ";

/// 儿 is a syllable of its own in these.
const KEEPS_ER: [&str; 5] = ["女儿", "老儿", "男儿", "少儿", "小儿"];
/// Characters from U+4E00 to U+9FFF that Python's `str.isnumeric` accepts, without 一.
const NUMERALS: &str = "七万三九二五亖亿什仟仨伍佰億兆兩八六十千卄卅卌叁参參叄四壱壹幺廾廿弌弍弎弐拾捌柒漆玖百肆萬貮貳贰阡陆陌陸零";
const SMALL_NUMERALS: &str = "零一二三四五六七八九十";
const MARKS: &str = "：，；。？！“”‘’':,;.?!()（）{}【】[]-~`、 ";

/// The word's syllables with their tones as they are spoken.
pub(super) fn apply(word: &str, characters: &[char], mut syllables: Vec<String>) -> Vec<String> {
    third_tones(characters, &mut syllables);
    bu(word, characters, &mut syllables);
    yi(word, characters, &mut syllables);
    er(word, characters, &mut syllables);
    syllables
}

/// A third tone before a third tone rises. In words of three the reference writes the second tone behind the third.
fn third_tones(characters: &[char], syllables: &mut [String]) {
    match (characters.len(), syllables) {
        (3, [first, second, .., last])
            if [&*first, second, last]
                .iter()
                .all(|syllable| syllable.ends_with(THIRD)) =>
        {
            first.push_str(SECOND);
            second.push_str(SECOND);
        }
        (2, [first, .., last]) if first.ends_with(THIRD) && last.ends_with(THIRD) => {
            first.pop();
            first.push_str(SECOND);
        }
        _ => {}
    }
}

fn bu(word: &str, characters: &[char], syllables: &mut [String]) {
    if characters.iter().all(|&character| character == '不') || word == "不字" {
        return;
    }
    if let ([_, '不', _], Some(middle)) = (characters, syllables.get_mut(1))
        && without_last(middle) == "ㄅㄨ"
    {
        *middle = format!("{}{NEUTRAL}", without_last(middle));
        return;
    }
    for (index, &character) in characters.iter().enumerate() {
        let before_fourth = index + 1 < characters.len() && ends(syllables, index + 1, FOURTH);
        if character == '不' && before_fourth {
            syllables[index] = format!("{}{SECOND}", without_last(&syllables[index]));
        }
    }
}

fn yi(word: &str, characters: &[char], syllables: &mut [String]) {
    if !characters.contains(&'一') {
        return;
    }
    if characters
        .iter()
        .any(|&character| NUMERALS.contains(character))
    {
        yi_in_number(characters, syllables);
    } else if matches!(characters, [first, '一', last] if first == last) {
        change(syllables, 1, NEUTRAL);
    } else if word.starts_with("第一") {
        change(syllables, 1, FIRST);
    } else if ["一月", "一日", "一号"]
        .iter()
        .any(|date| word.starts_with(date))
    {
        change(syllables, 0, FIRST);
    } else {
        for (index, pair) in characters.windows(2).enumerate() {
            if pair[0] != '一' {
                continue;
            }
            if ends(syllables, index + 1, FOURTH) {
                change(syllables, index, SECOND);
            } else if !MARKS.contains(pair[1]) {
                change(syllables, index, FOURTH);
            }
        }
    }
}

fn yi_in_number(characters: &[char], syllables: &mut [String]) {
    for (index, &character) in characters.iter().enumerate() {
        let leads = index == 0
            && characters
                .get(1)
                .is_some_and(|&next| !SMALL_NUMERALS.contains(next));
        if character != '一' {
            continue;
        }
        let tone = match leads {
            false => FIRST,
            true if ends(syllables, 1, FOURTH) || ends(syllables, 1, NEUTRAL) => SECOND,
            true => FOURTH,
        };
        change(syllables, index, tone);
    }
}

fn er(word: &str, characters: &[char], syllables: &mut [String]) {
    if characters.len() > 1 && word.ends_with('儿') && !KEEPS_ER.contains(&word) {
        change(syllables, syllables.len().saturating_sub(1), NEUTRAL);
    }
}

fn ends(syllables: &[String], index: usize, tone: &str) -> bool {
    syllables
        .get(index)
        .is_some_and(|syllable| syllable.ends_with(tone))
}

fn without_last(syllable: &str) -> &str {
    let mut characters = syllable.chars();
    characters.next_back();
    characters.as_str()
}

/// Another tone for a syllable (`change_tone`).
fn change(syllables: &mut [String], index: usize, tone: &str) {
    if let Some(syllable) = syllables.get_mut(index) {
        if syllable.ends_with(|last| TONE_MARKS.contains(last)) {
            syllable.pop();
        }
        syllable.push_str(tone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tones_change_as_in_the_reference() {
        for (word, before, after) in [
            ("你好", "ㄋㄧˇ ㄏㄠˇ", "ㄋㄧˊ ㄏㄠˇ"),
            ("总统府", "ㄗㄨㄥˇ ㄊㄨㄥˇ ㄈㄨˇ", "ㄗㄨㄥˇˊ ㄊㄨㄥˇˊ ㄈㄨˇ"),
            ("不要", "ㄅㄨˋ ㄧㄠˋ", "ㄅㄨˊ ㄧㄠˋ"),
            ("好不好", "ㄏㄠˇ ㄅㄨˋ ㄏㄠˇ", "ㄏㄠˇ ㄅㄨ˙ ㄏㄠˇ"),
            ("不不", "ㄅㄨˋ ㄅㄨˋ", "ㄅㄨˋ ㄅㄨˋ"),
            ("一定", "ㄧ ㄉㄧㄥˋ", "ㄧˊ ㄉㄧㄥˋ"),
            ("一天", "ㄧ ㄊㄧㄢ", "ㄧˋ ㄊㄧㄢ"),
            ("想一想", "ㄒㄧㄤˇ ㄧ ㄒㄧㄤˇ", "ㄒㄧㄤˇ ㄧ˙ ㄒㄧㄤˇ"),
            ("第一", "ㄉㄧˋ ㄧˋ", "ㄉㄧˋ ㄧ"),
            ("一月", "ㄧˊ ㄩㄝˋ", "ㄧ ㄩㄝˋ"),
            ("一百", "ㄧ ㄅㄞˇ", "ㄧˋ ㄅㄞˇ"),
            ("十一", "ㄕˊ ㄧˊ", "ㄕˊ ㄧ"),
            ("花儿", "ㄏㄨㄚ ㄦˊ", "ㄏㄨㄚ ㄦ˙"),
            ("女儿", "ㄋㄩˇ ㄦˊ", "ㄋㄩˇ ㄦˊ"),
        ] {
            let characters: Vec<char> = word.chars().collect();
            let syllables = before.split(' ').map(str::to_owned).collect();
            assert_eq!(
                apply(word, &characters, syllables).join(" "),
                after,
                "{word}"
            );
        }
    }

    #[test]
    fn fewer_syllables_than_characters_do_no_harm() {
        for word in ["一百万", "第一", "不是", "好不好", "花儿", "一月"] {
            let characters: Vec<char> = word.chars().collect();
            for syllables in [vec![], vec!["ㄧˇ".to_owned()], vec![String::new(); 2]] {
                apply(word, &characters, syllables);
            }
        }
    }
}

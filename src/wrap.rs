//! Text broken into lines at its blanks. Tables and pages call this.

/// `text` in lines of at most `width` characters, broken at blanks; a word that is longer has a line of its
/// own and sticks out, as half a digest or path cannot be copied.
pub fn wrapped(text: &str, width: usize) -> Vec<String> {
    if text.chars().count() <= width {
        return vec![text.to_owned()];
    }
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let length = word.chars().count();
        if used > 0 && used + 1 + length > width {
            lines.push(String::new());
            used = 0;
        }
        if let Some(line) = lines.last_mut() {
            if used > 0 {
                line.push(' ');
                used += 1;
            }
            line.push_str(word);
            used += length;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_at_blanks_and_words_stay_whole() {
        assert_eq!(wrapped("as it is", 20), ["as it is"]);
        assert_eq!(wrapped("one two three", 8), ["one two", "three"]);
        assert_eq!(wrapped("a sha256:0123456789 b", 8), ["a", "sha256:0123456789", "b"]);
        assert_eq!(wrapped("", 8), [""]);
    }
}

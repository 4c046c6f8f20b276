//! Patterns over the names of weights: `*` is any text, `?` any one character.

/// Whether `pattern` fits all of `name`.
pub fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut at, mut seen) = (0, 0);
    // Where to go on if what follows the last star does not fit: one character later.
    let mut star: Option<(usize, usize)> = None;
    while seen < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(&wanted) if wanted == '?' || wanted == name[seen] => {
                at += 1;
                seen += 1;
            }
            _ => match star {
                Some((from, until)) => {
                    star = Some((from, until + 1));
                    at = from + 1;
                    seen = until + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|&rest| rest == '*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_pattern_fits_a_whole_name() {
        for (pattern, name, fits) in [
            ("*", "", true),
            ("features.*", "features.0.weight", true),
            ("features.*", "classifier.weight", false),
            ("*.bias", "a.bias.bias", true),
            ("*.bias", "a.bias.b", false),
            ("conv?.w", "conv1.w", true),
            ("conv?.w", "conv12.w", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("", "w", false),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }
}

//! Which language a client is told no in. Knows no text.

/// What weighs as much as nothing else, in thousandths (RFC 9110 §12.4.2).
const FULL_WEIGHT: u16 = 1000;

/// Language ranges that are read in a request; browsers send a handful. A bound on work, as the
/// field is the client's.
const MAX_RANGES: usize = 16;

/// A language that the gate speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// `zh`, in simplified characters.
    Chinese,
    /// `en`, where nothing else is wanted.
    English,
}

impl Language {
    /// As `Content-Language` says it.
    pub(in crate::gateway) const fn tag(self) -> &'static str {
        match self {
            Self::Chinese => "zh-CN",
            Self::English => "en",
        }
    }

    /// The one of two that is in this language.
    pub(in crate::gateway) fn pick<T>(self, english: T, chinese: T) -> T {
        match self {
            Self::Chinese => chinese,
            Self::English => english,
        }
    }

    /// What these fields of `Accept-Language` (RFC 9110 §12.5.4) prefer. Ranges count by their first part, so
    /// `zh-TW` is Chinese and `en-GB` is English; of two that weigh the same the first counts, as
    /// browsers mean it. English when the client names neither.
    pub(in crate::gateway) fn negotiated<'a>(fields: impl IntoIterator<Item = &'a str>) -> Self {
        let elements = fields
            .into_iter()
            .flat_map(|field| field.split(','))
            .take(MAX_RANGES);
        let (mut chinese, mut english, mut any) = (None, None, None);
        for (place, (range, weight)) in elements.filter_map(range).enumerate() {
            let primary = range.split('-').next().unwrap_or_default();
            let preference = Some(Preference { weight, place });
            if primary.eq_ignore_ascii_case("zh") {
                chinese = preferred(chinese, preference);
            } else if primary.eq_ignore_ascii_case("en") {
                english = preferred(english, preference);
            } else if primary == "*" {
                any = preferred(any, preference);
            }
        }
        // `*` stands for what is not named.
        match (chinese, english) {
            (None, None) => Self::English,
            (Some(_), None) => Self::choose(chinese, any),
            (None, Some(_)) => Self::choose(any, english),
            (Some(_), Some(_)) => Self::choose(chinese, english),
        }
    }

    /// The one that is preferred, and English when neither is.
    fn choose(chinese: Option<Preference>, english: Option<Preference>) -> Self {
        let acceptable = chinese.is_some_and(|preference| preference.weight > 0);
        if acceptable && preferred(chinese, english) == chinese {
            Self::Chinese
        } else {
            Self::English
        }
    }
}

/// How much a language is wanted, and where in the list that was said.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Preference {
    weight: u16,
    place: usize,
}

/// The heavier of two, and of two that weigh the same the earlier.
fn preferred(one: Option<Preference>, other: Option<Preference>) -> Option<Preference> {
    let key = |preference: &Preference| (preference.weight, std::cmp::Reverse(preference.place));
    one.into_iter().chain(other).max_by_key(key)
}

/// A range and its weight in thousandths. One that is malformed counts for nothing.
fn range(element: &str) -> Option<(&str, u16)> {
    let mut parts = element.split(';').map(str::trim);
    let range = parts.next().filter(|range| !range.is_empty())?;
    let weight = match (parts.next(), parts.next()) {
        (None, _) => FULL_WEIGHT,
        (Some(parameter), None) => weight(parameter)?,
        (Some(_), Some(_)) => return None,
    };
    Some((range, weight))
}

/// `q=` and a number from 0 to 1 with at most three decimals.
fn weight(parameter: &str) -> Option<u16> {
    let (name, number) = parameter.split_once('=')?;
    if !name.eq_ignore_ascii_case("q") {
        return None;
    }
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    let scale: u16 = *[FULL_WEIGHT, 100, 10, 1].get(decimals.len())?;
    if !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let thousandths = match decimals {
        "" => 0,
        digits => digits.parse::<u16>().ok()?.checked_mul(scale)?,
    };
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(FULL_WEIGHT),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(fields: &[&'static str], expected: Language) {
        let negotiated = Language::negotiated(fields.iter().copied());
        assert_eq!(negotiated, expected, "{fields:?}");
    }

    #[test]
    fn who_names_neither_language_gets_english() {
        check(&[], Language::English);
        for field in [
            "",
            ",",
            "fr",
            "*",
            "*;q=0.1",
            "fr, *;q=0.5",
            "zha",
            "z",
            "en;q=0",
            "zh;q=0",
        ] {
            check(&[field], Language::English);
        }
    }

    #[test]
    fn the_first_part_of_a_range_names_the_language() {
        for field in ["zh", "zh-CN", "ZH-cn", "zh-Hans-CN", "zh-TW", " zh "] {
            check(&[field], Language::Chinese);
        }
        for field in ["en", "en-US", "EN-gb"] {
            check(&[field], Language::English);
        }
    }

    #[test]
    fn the_heavier_language_wins_and_of_two_alike_the_first() {
        for (field, expected) in [
            ("zh-CN,zh;q=0.9,en;q=0.8", Language::Chinese),
            ("en-US,en;q=0.9,zh-CN;q=0.8", Language::English),
            ("en;q=0.8, zh", Language::Chinese),
            ("zh;q=0.8, en;q=0.801", Language::English),
            ("zh;q=0.81, en;q=0.809", Language::Chinese),
            ("zh;q=1.000, en;q=0.999", Language::Chinese),
            ("zh, en", Language::Chinese),
            ("en, zh", Language::English),
            ("fr, zh;q=0.3, en;q=0.2", Language::Chinese),
            ("zh;q=0, en;q=0.001", Language::English),
            ("en;q=0, zh;q=0.001", Language::Chinese),
            ("zh-TW;q=0, zh-CN", Language::Chinese),
            ("en;q=0, zh;q=0", Language::English),
        ] {
            check(&[field], expected);
        }
        check(&["en;q=0.5", "zh"], Language::Chinese);
    }

    #[test]
    fn a_star_stands_for_the_language_that_is_not_named() {
        for (field, expected) in [
            ("en;q=0, *", Language::Chinese),
            ("en;q=0.5, *", Language::Chinese),
            ("zh;q=0.5, *", Language::English),
            ("zh, *;q=0.5", Language::Chinese),
            ("zh;q=0, *", Language::English),
        ] {
            check(&[field], expected);
        }
    }

    #[test]
    fn what_is_malformed_counts_for_nothing() {
        for field in [
            "zh;q=2",
            "zh;q=1.1",
            "zh;q=0.1234",
            "zh;q=-1",
            "zh;q=",
            "zh;q",
            "zh;level=1",
            "zh;q=1;q=1",
            "zh;q=+1",
            "zh;q=0.+1",
        ] {
            check(&[field], Language::English);
            check(&["zh;q=0.1", field], Language::Chinese);
        }
    }

    #[test]
    fn no_more_of_a_long_list_is_read_than_a_little() {
        check(&["a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,zh"], Language::Chinese);
        check(&["a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,zh"], Language::English);
    }
}

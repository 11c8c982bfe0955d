//! Content negotiation by the `Accept` header (RFC 9110, 12.5.1).

/// One media range of the header.
pub(super) struct Range<'a> {
    /// Its type in lower case, without parameters.
    pub(super) kind: String,
    /// The parameter `version`, without quotes.
    pub(super) version: Option<&'a str>,
    quality: f32,
}

/// All media ranges in order; an invalid quality counts as 0.
pub(super) fn ranges(accept: &str) -> impl Iterator<Item = Range<'_>> {
    accept.split(',').map(|part| {
        let mut fields = part.split(';').map(str::trim);
        let mut range = Range { kind: fields.next().unwrap_or_default().to_ascii_lowercase(), version: None, quality: 1.0 };
        for (key, value) in fields.filter_map(|field| field.split_once('=')) {
            let value = value.trim().trim_matches('"');
            match key.trim().to_ascii_lowercase().as_str() {
                "q" => range.quality = value.parse().unwrap_or(0.0),
                "version" => range.version = Some(value),
                _ => {}
            }
        }
        range
    })
}

/// The result of `offer` for the most preferred range, the first of several; none if it has none for any.
pub(super) fn best<T>(accept: &str, offer: impl Fn(&Range<'_>) -> Option<T>) -> Option<T> {
    let mut best = (0.0, None);
    for range in ranges(accept) {
        if let Some(offered) = offer(&range).filter(|_| range.quality > best.0) {
            best = (range.quality, Some(offered));
        }
    }
    best.1
}

//! Looks up a name in `/etc/hosts`.

use std::net::IpAddr;

/// All addresses of the name, in the order of the file (hosts(5)); the names of one line are aliases.
pub(super) fn addresses(text: &str, name: &str) -> Vec<IpAddr> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(Ok(address)) = words.next().map(str::parse::<IpAddr>) else { continue };
        if words.any(|word| word.strip_suffix('.').unwrap_or(word).eq_ignore_ascii_case(name)) && !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_with_the_name_counts() {
        let text = "127.0.0.1 localhost\n# 9.9.9.9 db\n10.0.0.1\tDB db.example # db2\nfe80::1%eth0 db\nnonsense db\n::1 db\n10.0.0.1 db\n";
        assert_eq!(addresses(text, "db"), ["10.0.0.1".parse::<IpAddr>().unwrap(), "::1".parse().unwrap()]);
        assert_eq!(addresses(text, "db.example."), ["10.0.0.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(addresses(text, "db2"), [] as [IpAddr; 0]);
    }
}

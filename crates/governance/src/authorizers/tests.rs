//! What is recorded and told of authorizers.

use super::*;

#[test]
fn an_address_is_recorded_without_what_may_be_secret() {
    for (url, shown) in [
        ("https://authz.example.com/check", "https://authz.example.com/check"),
        ("https://user:word@authz.example.com:8443/v1/check?key=a#b", "https://authz.example.com:8443/v1/check"),
        ("http://[::1]:9000", "http://[::1]:9000/"),
        ("nonsense", "the webhook"),
    ] {
        assert_eq!(without_query(url), shown);
    }
}

#[test]
fn what_authorizers_say_stays_on_a_line() {
    assert_eq!(sentence(" not\nafter\u{1b}[31m hours "), "not after [31m hours");
    assert_eq!(sentence(&"é".repeat(400)).len(), SENTENCE);
}

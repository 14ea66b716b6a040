//! What is taken for a line, and what is refused.

use super::*;

fn fields(head: &[u8]) -> Result<(Vec<(String, String)>, usize), Malformed> {
    let mut found = Vec::new();
    let end = each_field(head, 0, |line| {
        assert_eq!(&head[line.name_at..line.name_at + line.name.len()], line.name);
        assert_eq!(&head[line.value_at..line.value_at + line.value.len()], line.value);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        found.push((text(line.name), text(line.value)));
        Ok(())
    })?;
    Ok((found, end))
}

/// The same, looked at byte by byte.
#[cfg(target_arch = "x86_64")]
fn fields_by_bytes(head: &[u8]) -> Result<(Vec<(String, String)>, usize), Malformed> {
    struct Kept(Vec<(String, String)>);

    impl<'a> TakeField<'a> for &mut Kept {
        type Error = Malformed;

        fn take(&mut self, line: Line<'a>) -> Result<(), Malformed> {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            self.0.push((text(line.name), text(line.value)));
            Ok(())
        }
    }

    let mut kept = Kept(Vec::new());
    let end = take_fields_by(head, 0, &mut kept, by_bytes::line)?;
    Ok((kept.0, end))
}

fn assert_not_taken<T: std::fmt::Debug + PartialEq>(line: &[u8], taken: Result<T, Malformed>) {
    assert_eq!(taken, Err(Malformed::StartLine), "{:?}", String::from_utf8_lossy(line));
}

#[test]
fn values_come_without_the_white_space_around_them() {
    let head = b"A: 1\r\nB:2\r\nC: \t3 x\t \r\nD:\r\nE: \r\n\r\nrest";
    let (found, end) = fields(head).unwrap();
    let expected = [("A", "1"), ("B", "2"), ("C", "3 x"), ("D", ""), ("E", "")];
    let found: Vec<_> = found.iter().map(|(name, value)| (&name[..], &value[..])).collect();
    assert_eq!(found, expected);
    assert_eq!(&head[end..], b"rest");
}

#[test]
fn names_with_an_underscore_are_told_apart() {
    struct Marked(Vec<String>);

    impl<'a> TakeField<'a> for &mut Marked {
        type Error = Malformed;

        fn take(&mut self, line: Line<'a>) -> Result<(), Malformed> {
            self.0.push(String::from_utf8_lossy(line.name).into_owned());
            Ok(())
        }

        fn take_underscored(&mut self, line: Line<'a>) -> Result<(), Malformed> {
            self.take(line)?;
            self.0.push("!".to_owned());
            Ok(())
        }
    }

    let long = format!("{}_b", "a".repeat(70));
    let head = format!("A-b: _\r\n_: 1\r\n_a:2\r\na_: 3\r\nX_y_z: 4_5\r\n{long}: 6\r\n\r\n");
    let mut marked = Marked(Vec::new());
    assert_eq!(take_fields(head.as_bytes(), 0, &mut marked), Ok(head.len()));
    assert_eq!(marked.0, ["A-b", "_", "!", "_a", "!", "a_", "!", "X_y_z", "!", &long, "!"]);
    for bad in [&b"a_ : 1\r\n\r\n"[..], b"_\r\n\r\n", b"a_(: 1\r\n\r\n"] {
        assert_eq!(fields(bad), Err(Malformed::Name), "{:?}", String::from_utf8_lossy(bad));
    }
    assert_eq!(fields(b"a_"), Err(Malformed::End));
}

#[test]
fn a_line_that_two_readers_could_take_differently_is_refused() {
    for (head, error) in [
        (&b"A : 1\r\n\r\n"[..], Malformed::Name),
        (b" A: 1\r\n\r\n", Malformed::Name),
        (b"A: 1\r\n folded\r\n\r\n", Malformed::Name),
        (b": 1\r\n\r\n", Malformed::Name),
        (b"A\r\n\r\n", Malformed::Name),
        (b"\r\r\n", Malformed::Name),
        (b"A\xe4: 1\r\n\r\n", Malformed::Name),
        (b"A: 1\rB: 2\r\n\r\n", Malformed::Value),
        (b"A: 1\0\r\n\r\n", Malformed::Value),
        (b"A: \x7f\r\n\r\n", Malformed::Value),
        (b"A: 1\nB: 2\r\n\r\n", Malformed::BareLineFeed),
        (b"A: 1\r\n\n", Malformed::BareLineFeed),
        (b"A\n\r\n", Malformed::BareLineFeed),
        (b"A: 1\r\n", Malformed::End),
        (b"A: 1\r\n\r", Malformed::End),
        (b"A: 1\r", Malformed::End),
        (b"A", Malformed::End),
        (b"", Malformed::End),
    ] {
        assert_eq!(fields(head), Err(error), "{:?}", String::from_utf8_lossy(head));
    }
}

#[test]
fn a_request_line_has_three_parts_with_one_space_between_them() {
    let line = request_line(b"PURGE /a?b HTTP/1.0\r\nA: 1\r\n").unwrap();
    assert_eq!((line.method, line.target, line.end), (&b"PURGE"[..], &b"/a?b"[..], 21));
    assert!(line.is_http10);
    for bad in [
        &b"GET  / HTTP/1.1\r\n"[..],
        b"GET /  HTTP/1.1\r\n",
        b"GET / x HTTP/1.1\r\n",
        b"GET /\tHTTP/1.1\r\n",
        b"GET /\t HTTP/1.1\r\n",
        b"GET HTTP/1.1\r\n",
        b" / HTTP/1.1\r\n",
        b"GE(T / HTTP/1.1\r\n",
        b"GET / HTTP/1.1 \r\n",
        b"GET / http/1.1\r\n",
        b"GET /\0 HTTP/1.1\r\n",
        b"GET / HTTP/1.1\rA",
        b"GET\r\n",
        b"\r\n",
    ] {
        assert_not_taken(bad, request_line(bad));
    }
    assert_eq!(request_line(b"GET / HTTP/2.0\r\n"), Err(Malformed::Version));
    assert_eq!(request_line(b"GET  HTTP/2.0\r\n"), Err(Malformed::StartLine));
    assert_eq!(request_line(b"GET / HTTP/1.1\n"), Err(Malformed::BareLineFeed));
    assert_eq!(request_line(b"GET / HTTP/1.1\r"), Err(Malformed::End));
    assert_eq!(request_line(b"GET / HTTP/1.1"), Err(Malformed::End));
}

#[test]
fn a_status_line_may_lack_its_reason() {
    for good in [
        &b"HTTP/1.1 204 No Content\r\n"[..],
        b"HTTP/1.1 204 \r\n",
        b"HTTP/1.1 204\r\n",
        b"HTTP/1.1 204 d\xe9j\xe0\tvu\r\n",
    ] {
        let (status, end) = (204, good.len());
        assert_eq!(status_line(good), Ok(StatusLine { status, is_http10: false, end }));
    }
    for bad in [
        &b"HTTP/1.1 20 OK\r\n"[..],
        b"HTTP/1.1 2000 OK\r\n",
        b"HTTP/1.1  200 OK\r\n",
        b"HTTP/1.1 2x0 OK\r\n",
        b"HTTP/1.1 +20 OK\r\n",
        b"HTTP/1.1200 OK\r\n",
        b"HTTP/1.1 200OK\r\n",
        b"HTTP/1.1 200 O\0K\r\n",
        b"HTTP/1.1\r\n",
        b"\r\n",
    ] {
        assert_not_taken(bad, status_line(bad));
    }
    assert_eq!(status_line(b"HTTP/1.2 200 OK\r\n"), Err(Malformed::Version));
}

#[test]
#[cfg(target_arch = "x86_64")]
fn vectors_find_what_bytes_taken_one_by_one_do() {
    if !is_x86_feature_detected!("avx2") {
        return;
    }
    // Each byte value at each place of texts of each length around the vectors' own.
    for length in 0..=100 {
        let mut text = vec![b'a'; length];
        for at in 0..length {
            for value in 0..=255 {
                text[at] = value;
                for from in [0, 1, at / 2, at, length.saturating_sub(32), length] {
                    // SAFETY: the processor has them.
                    let found = unsafe {
                        (vectors::name_end(&text, from), vectors::plain_end(&text, from))
                    };
                    let expected =
                        (by_bytes::name_end(&text, from), by_bytes::plain_end(&text, from));
                    assert_eq!(found, expected, "{value} at {at} of {length}, from {from}");
                }
            }
            text[at] = b'b';
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn vectors_and_bytes_take_the_same_fields() {
    let head =
        b"A: 1\r\nB_c: 2\r\nAccept:text/html, */*;q=0.8, and on to the next block\r\nX-Of-A_\
        Long-Name-Over-A-Block-Of-Bytes:\t2 \r\nB:\r\n\r\nrest";
    // Each byte value at each place, and the head cut off behind it.
    for at in 0..head.len() {
        for value in 0..=255 {
            let mut other = head.to_vec();
            other[at] = value;
            for end in [at + 1, other.len()] {
                let head = &other[..end];
                assert_eq!(fields(head), fields_by_bytes(head), "{value} at {at}, of {end}");
            }
        }
    }
}

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};

use futures_util::TryStreamExt;

use super::*;

const LOCAL: fn() -> Fetch = || Fetch {
    allow_private: true,
    connect_timeout: Duration::from_secs(2),
    timeout: Duration::from_secs(5),
    max_redirects: 3,
};

/// A server that gives one connection after the other the next of these answers, as they are. Returns its port and the requests.
fn serve(answers: Vec<Vec<u8>>) -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, requests) = channel();
    std::thread::spawn(move || {
        for answer in answers {
            let (mut connection, _) = listener.accept().unwrap();
            let (mut request, mut buffer) = (Vec::new(), [0; 4_096]);
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                let read = connection.read(&mut buffer).unwrap();
                if read == 0 {
                    break;
                }
                request.extend_from_slice(&buffer[..read]);
            }
            sender.send(String::from_utf8_lossy(&request).into_owned()).unwrap();
            connection.write_all(&answer).unwrap();
        }
    });
    (port, requests)
}

fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn status(line: &str, header: &str) -> Vec<u8> {
    format!("HTTP/1.1 {line}\r\n{header}content-length: 0\r\n\r\n").into_bytes()
}

async fn fetch(rules: &Fetch, url: &str) -> Result<String, RemoteError> {
    let bytes: Vec<Bytes> = Fetcher::new(rules).unwrap().open(url).await?.try_collect().await?;
    Ok(String::from_utf8(bytes.concat()).unwrap())
}

/// What a client sees of these answers.
async fn seen(answers: Vec<Vec<u8>>) -> Result<String, RemoteError> {
    let (port, _requests) = serve(answers);
    fetch(&LOCAL(), &format!("http://127.0.0.1:{port}/file.wav")).await
}

#[tokio::test]
async fn a_file_is_fetched_with_its_query_and_our_name() {
    let (port, requests) = serve(vec![ok("some audio")]);
    assert_eq!(
        fetch(&LOCAL(), &format!("http://localhost:{port}/a/b.wav?x=1#y")).await.as_deref(),
        Ok("some audio")
    );
    let request = requests.recv().unwrap();
    assert!(request.starts_with("GET /a/b.wav?x=1 HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("user-agent: hark/"), "{request}");
}

#[tokio::test]
async fn redirects_are_followed_to_the_limit() {
    let relative = |to: &str| status("302 Found", &format!("location: {to}\r\n"));
    let (port, requests) = serve(vec![
        relative("/two?q"),
        relative("three"),
        status("308 Permanent Redirect", "location: ./four\r\n"),
        ok("x"),
    ]);
    assert_eq!(fetch(&LOCAL(), &format!("http://127.0.0.1:{port}/one")).await.as_deref(), Ok("x"));
    let paths: Vec<String> = requests
        .iter()
        .map(|request| request.split(' ').nth(1).unwrap().to_owned())
        .collect();
    assert_eq!(paths, ["/one", "/two?q", "/three", "/four"]);
    assert_eq!(seen(vec![relative("/again"); 4]).await, Err(RemoteError::TooManyRedirects));
}

#[tokio::test]
async fn every_failure_has_its_text() {
    assert_eq!(seen(vec![status("302 Found", "")]).await, Err(RemoteError::RedirectWithoutTarget));
    assert_eq!(
        seen(vec![
            b"HTTP/1.1 302 Found\r\nlocation: /\xff\xfe\r\ncontent-length: 0\r\n\r\n".to_vec()
        ])
        .await,
        Err(RemoteError::RedirectNotText)
    );
    for target in ["http://[::1", "ftp://example.com/x", "file:///etc/passwd"] {
        assert_eq!(
            seen(vec![status("301 Moved Permanently", &format!("location: {target}\r\n"))]).await,
            Err(RemoteError::RedirectNotUrl),
            "{target}"
        );
    }
    let error = seen(vec![status("404 Not Found", "")]).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "The remote server hosting the media returned a client error: 404 Not Found."
    );
    for answer in [
        status("503 Service Unavailable", ""),
        status("304 Not Modified", ""),
        status("200 OK", ""),
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf".to_vec(),
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhalf".to_vec(),
        b"SSH-2.0-OpenSSH\r\n\r\n".to_vec(),
        Vec::new(),
    ] {
        assert_eq!(
            seen(vec![answer.clone()]).await,
            Err(RemoteError::InvalidData),
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
    for url in [
        "",
        "no url",
        "/path",
        "ftp://example.com/a",
        "file:///etc/passwd",
        "http://",
        "data:text/plain,x",
    ] {
        assert_eq!(fetch(&LOCAL(), url).await, Err(RemoteError::BadUrl), "{url}");
    }
    // Nobody listens there any more.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    assert_eq!(
        fetch(&LOCAL(), &format!("http://127.0.0.1:{port}/")).await,
        Err(RemoteError::InvalidData)
    );
    assert_eq!(fetch(&LOCAL(), "http://no-such-name.invalid/").await, Err(RemoteError::Unresolved));
}

#[tokio::test]
async fn a_slow_server_ends_with_the_time_limit() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n").unwrap();
        while connection.write_all(b"x").is_ok() {
            std::thread::park_timeout(Duration::from_millis(20));
        }
    });
    let begun = Instant::now();
    let rules = Fetch {
        timeout: Duration::from_millis(300),
        ..LOCAL()
    };
    assert_eq!(
        fetch(&rules, &format!("http://127.0.0.1:{port}/")).await,
        Err(RemoteError::InvalidData)
    );
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn the_time_of_a_slow_reader_does_not_count() {
    // Larger than what the kernel holds for the connection, so that the other server has to wait for the reader.
    let size = 16 << 20;
    let (port, _requests) = serve(vec![ok(&"x".repeat(size))]);
    let rules = Fetch {
        timeout: Duration::from_millis(500),
        ..LOCAL()
    };
    let mut bytes = Fetcher::new(&rules)
        .unwrap()
        .open(&format!("http://127.0.0.1:{port}/"))
        .await
        .unwrap();
    let (mut read, mut pause) = (0, 0);
    while let Some(part) = bytes.next().await {
        read += part.unwrap().len();
        if read > pause {
            pause = read + (4 << 20);
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }
    assert_eq!(read, size);
}

#[tokio::test]
async fn addresses_that_are_not_public_are_refused_before_connecting() {
    let (port, requests) = serve(vec![ok("secret")]);
    let rules = Fetch {
        allow_private: false,
        ..LOCAL()
    };
    for host in [
        "127.0.0.1",
        "localhost",
        "0.0.0.0",
        "2130706433",
        "0x7f.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::]",
        "10.1.2.3",
        "169.254.169.254",
        "[fd00:ec2::254]",
    ] {
        assert_eq!(
            fetch(&rules, &format!("http://{host}:{port}/")).await,
            Err(RemoteError::NotPublic),
            "{host}"
        );
    }
    assert!(requests.try_recv().is_err(), "the server was connected to");
}

/// The first hop is allowed, so that the check of the second one is what is tested.
#[tokio::test]
async fn the_target_of_a_redirect_is_checked_as_well() {
    let (port, _requests) = serve(vec![status("302 Found", "location: http://10.0.0.1/\r\n")]);
    let mut fetcher = Fetcher::new(&LOCAL()).unwrap();
    let url: Url = format!("http://redirector.test:{port}/").parse().unwrap();
    fetcher.client = Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .resolve("redirector.test", SocketAddr::from(([127, 0, 0, 1], port)))
        .build()
        .unwrap();
    fetcher.allow_private = false;
    assert_eq!(fetcher.follow(url).await.err(), Some(RemoteError::NotPublic));
}

#[test]
fn of_several_addresses_only_the_public_ones_are_used() {
    let [public, private] = ["8.8.8.8:0", "10.0.0.1:0"].map(|address| address.parse::<SocketAddr>().unwrap());
    assert_eq!(permitted(vec![private, public], false), Ok(vec![public]));
    assert_eq!(permitted(vec![private, public], true), Ok(vec![private, public]));
    assert_eq!(permitted(vec![private], false), Err(RemoteError::NotPublic));
    assert_eq!(permitted(vec![], true), Err(RemoteError::Unresolved));
}

#[test]
fn public_addresses() {
    for address in [
        "8.8.8.8",
        "1.1.1.1",
        "100.63.255.255",
        "100.128.0.0",
        "172.15.0.1",
        "172.32.0.1",
        "169.253.0.1",
        "192.167.1.1",
        "198.17.0.1",
        "198.20.0.1",
        "223.255.255.255",
        "2606:4700:4700::1111",
        "2a00:1450::1",
        "2001:4860:4860::8888",
        "64:ff9b::8.8.8.8",
        "2002:808:808::1",
        "::ffff:8.8.8.8",
    ] {
        assert!(is_public(address.parse().unwrap()), "{address}");
    }
    for address in [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "100.127.255.255",
        "100.100.100.200",
        "127.0.0.1",
        "127.255.255.255",
        "169.254.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.1.1.1",
        "240.0.0.1",
        "255.255.255.255",
        "168.63.129.16",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::10.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",
        "2002:7f00:1::1",
        "2002:a00:1::",
        "2001::1",
        "2001:db8::1",
        "3fff::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "100::1",
        "5f00::1",
        "4000::1",
    ] {
        assert!(!is_public(address.parse().unwrap()), "{address}");
    }
}

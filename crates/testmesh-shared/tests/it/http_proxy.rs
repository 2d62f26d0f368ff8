//! Requests through a proxy: in absolute form, through a tunnel, denied.

use base64::Engine as _;
use testmesh_shared::http::{ConnectionOptions, HttpClient, HttpError, HttpErrorKind, HttpVersion, ProxyChoice};
use testmesh_shared::net::{Connector, NetPolicy, Proxies};
use tokio::io::{AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::TcpStream;

use crate::http::client;
use crate::http_tls::{Authority, trusting};
use crate::server::{Server, get, ok, read_request, version_app};

/// A proxy that wants `user:pass`, answers requests itself, and connects every tunnel to the port that is asked for on
/// this host, whatever the name.
async fn proxy() -> Server {
    Server::raw(|stream, _| async move {
        let mut stream = BufReader::new(stream);
        while let Some(head) = read_request(&mut stream).await {
            let credentials = base64::engine::general_purpose::STANDARD.encode("user:pass");
            if !head.to_ascii_lowercase().contains(&format!("basic {}", credentials.to_ascii_lowercase())) {
                stream.write_all(b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n").await.unwrap();
                continue;
            }
            let line = head.lines().next().unwrap().to_owned();
            let Some(target) = line.strip_prefix("CONNECT ") else {
                stream.write_all(ok(&format!("proxied {line}")).as_bytes()).await.unwrap();
                continue;
            };
            let (_, port) = target.split(' ').next().unwrap().rsplit_once(':').unwrap();
            let mut upstream = TcpStream::connect(("127.0.0.1", port.parse().unwrap())).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n").await.unwrap();
            let _ = copy_bidirectional(&mut stream, &mut upstream).await;
            return;
        }
    })
    .await
}

fn through(proxy: &Server, credentials: &str) -> ProxyChoice {
    ProxyChoice::Through(format!("http://{credentials}{}", proxy.address).parse().unwrap())
}

async fn text(client: &HttpClient, url: &str, options: &ConnectionOptions) -> Result<String, HttpError> {
    let response = client.send(get(url), options).await?.collect(1000).await?;
    Ok(String::from_utf8_lossy(&response.body).into_owned())
}

#[tokio::test]
async fn a_plain_request_goes_to_the_proxy_in_absolute_form_with_credentials() {
    let proxy = proxy().await;
    let options = ConnectionOptions { proxy: through(&proxy, "user:pass@"), ..ConnectionOptions::default() };
    let client = client();
    for _ in 0..2 {
        // The name does not exist: only the proxy has to know it.
        let answer = text(&client, "http://shop.invalid/items?page=2", &options).await.unwrap();
        assert_eq!(answer, "proxied GET http://shop.invalid/items?page=2 HTTP/1.1");
    }
    assert_eq!(proxy.connections(), 1);
}

#[tokio::test]
async fn https_and_http_2_go_through_a_tunnel() {
    let proxy = proxy().await;
    let authority = Authority::new();
    let secure = Server::app(version_app(), Some(authority.server("shop.invalid", &["h2"], false))).await;
    let plain = Server::app(version_app(), None).await;
    for (server, scheme, version) in [(&secure, "https", HttpVersion::Auto), (&plain, "http", HttpVersion::Http2)] {
        let options = ConnectionOptions { version, tls: trusting(&authority), proxy: through(&proxy, "user:pass@") };
        let url = format!("{scheme}://shop.invalid:{}/", server.address.port());
        let answer = text(&client(), &url, &options).await.unwrap();
        assert_eq!(answer, format!("HTTP/2.0 {url}"));
    }
    assert_eq!(proxy.connections(), 2);
}

#[tokio::test]
async fn a_proxy_that_refuses_the_tunnel_is_named_with_its_reason() {
    let proxy = proxy().await;
    let options = ConnectionOptions { proxy: through(&proxy, ""), ..ConnectionOptions::default() };
    let error = text(&client(), "https://shop.invalid/", &options).await.unwrap_err();
    assert_eq!(error.kind(), HttpErrorKind::Connection);
    let expect = format!(
        "the proxy `{}` does not connect to `shop.invalid:443`: it answered `HTTP/1.1 407 Who are you`",
        proxy.address
    );
    assert_eq!(error.to_string(), expect);
}

#[tokio::test]
async fn configured_proxies_are_used_unless_a_request_goes_direct() {
    let proxy = proxy().await;
    let server = Server::canned(ok("direct")).await;
    let address = proxy.address;
    let proxies = Proxies::from_variables(|name| (name == "http_proxy").then(|| format!("http://user:pass@{address}")));
    let client = HttpClient::new(Connector::default().with_proxies(proxies.unwrap()));
    let configured = ConnectionOptions::default();
    let direct = ConnectionOptions { proxy: ProxyChoice::Direct, ..ConnectionOptions::default() };
    assert_eq!(
        text(&client, "http://shop.invalid/", &configured).await.unwrap(),
        "proxied GET http://shop.invalid/ HTTP/1.1"
    );
    assert_eq!(text(&client, &server.url("/"), &configured).await.unwrap(), "direct", "loopback is never proxied");
    assert!(text(&client, "http://shop.invalid/", &direct).await.is_err());
}

#[tokio::test]
async fn a_denied_target_is_not_asked_for_at_the_proxy() {
    let proxy = proxy().await;
    let client = HttpClient::new(Connector::new(NetPolicy::server(&[])));
    let options = ConnectionOptions { proxy: through(&proxy, "user:pass@"), ..ConnectionOptions::default() };
    for url in ["http://169.254.169.254/latest/meta-data", "https://[fd00:ec2::254]/"] {
        let error = text(&client, url, &options).await.unwrap_err();
        assert_eq!(error.kind(), HttpErrorKind::Policy, "{error}");
    }
    assert_eq!(proxy.connections(), 0);
}

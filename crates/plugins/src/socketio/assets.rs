//! The page's files: from the folder on disk where there is one, so that an edit shows on the next reload;
//! else from the copy inside the binary.

use std::borrow::Cow;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY,
};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::Response;

use super::guard::answer;

include!(concat!(env!("OUT_DIR"), "/dashboards.rs"));

/// The page that is served where the configuration names none.
pub const DEFAULT_PAGE: &str = "dashboards/gender";
/// A file on disk that is greater is not served, in bytes.
const LARGEST: u64 = 16 << 20;

/// A folder of files.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Folder {
    /// On disk; resolved, so that no link leads out of it.
    Disk(PathBuf),
    /// In the binary: the folder's name under `dashboards/`.
    Embedded(String),
}

impl Folder {
    /// The bytes of the file at `path`, already split and decoded.
    async fn read(&self, path: &[String]) -> Option<Cow<'static, [u8]>> {
        match self {
            Self::Embedded(folder) => {
                let name = format!("{folder}/{}", path.join("/"));
                let index = EMBEDDED.binary_search_by(|(known, _)| (*known).cmp(&name)).ok()?;
                EMBEDDED.get(index).map(|(_, bytes)| Cow::Borrowed(*bytes))
            }
            Self::Disk(root) => {
                let file = tokio::fs::canonicalize(root.join(path.join("/"))).await.ok()?;
                let meta = tokio::fs::metadata(&file).await.ok()?;
                if !file.starts_with(root) || !meta.is_file() || meta.len() > LARGEST {
                    return None;
                }
                tokio::fs::read(&file).await.ok().map(Cow::Owned)
            }
        }
    }
}

/// The page folder and the vendored libraries that every page shares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assets {
    page: Folder,
    vendor: Folder,
}

impl Assets {
    /// Finds the page `written` in the file: the folder `on_disk`, or the embedded page of that name.
    ///
    /// # Errors
    /// The names of the embedded pages, where there is neither.
    pub fn find(written: &str, on_disk: &Path) -> Result<Self, Vec<&'static str>> {
        let embedded_vendor = Folder::Embedded("vendor".into());
        if let Ok(root) = on_disk.canonicalize()
            && root.join("index.html").is_file()
        {
            let beside = root.parent().map(|parent| parent.join("vendor")).filter(|v| v.is_dir());
            let vendor = beside.and_then(|v| v.canonicalize().ok()).map_or(embedded_vendor, Folder::Disk);
            return Ok(Self { page: Folder::Disk(root), vendor });
        }
        let name = written.trim_start_matches("./").trim_end_matches('/');
        let name = name.strip_prefix("dashboards/").unwrap_or(name);
        let pages = embedded_pages();
        if pages.contains(&name) {
            return Ok(Self { page: Folder::Embedded(name.to_owned()), vendor: embedded_vendor });
        }
        Err(pages)
    }

    /// The file at the path of a URL, with its content type.
    pub async fn get(&self, url_path: &str) -> Option<(Cow<'static, [u8]>, &'static str)> {
        let mut path = segments(url_path)?;
        let folder = match path.first().map(String::as_str) {
            Some("vendor") => {
                path.remove(0);
                &self.vendor
            }
            _ => &self.page,
        };
        if path.is_empty() && *folder == self.page {
            path.push("index.html".into());
        }
        let content_type = content_type(path.last()?);
        Some((folder.read(&path).await?, content_type))
    }
}

/// The folders in the binary that have a page.
fn embedded_pages() -> Vec<&'static str> {
    EMBEDDED.iter().filter_map(|(name, _)| name.strip_suffix("/index.html")).collect()
}

/// The names of a URL path, decoded. `None` for every path that could lead out of a folder or to a hidden
/// file.
fn segments(url_path: &str) -> Option<Vec<String>> {
    let path = url_path.strip_prefix('/')?;
    if path.is_empty() {
        return Some(Vec::new());
    }
    path.split('/')
        .map(|segment| {
            let name = percent_decode(segment)?;
            let plain = !name.is_empty()
                && !name.starts_with('.')
                && !name.contains(['/', '\\', ':'])
                && !name.contains(char::is_control);
            plain.then_some(name)
        })
        .collect()
}

/// Text of a URL as it was meant; `None` where it is no UTF-8 or no escape.
pub(super) fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        bytes.push((high * 16 + low) as u8);
    }
    String::from_utf8(bytes).ok()
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml; charset=utf-8",
        Some("json" | "webmanifest") => "application/json; charset=utf-8",
        Some("txt" | "md") => "text/plain; charset=utf-8",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("woff2") => "font/woff2",
        _ => "application/octet-stream",
    }
}

/// Answers every request that is not Socket.IO's.
pub async fn serve(State(assets): State<Arc<Assets>>, request: Request) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = answer(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".into());
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let Some((bytes, content_type)) = assets.get(request.uri().path()).await else {
        return answer(StatusCode::NOT_FOUND, "there is no such file\n".into());
    };
    let mut hasher = foldhash::quality::FixedState::default().build_hasher();
    hasher.write(&bytes);
    let packs = is_text(content_type) && bytes.len() >= LEAST_PACKED;
    let packed = packs && request.headers().get(ACCEPT_ENCODING).is_some_and(takes_gzip);
    // Another form of the same file is another thing to keep (RFC 9110, section 8.8.3).
    let form = if packed { "-gzip" } else { "" };
    let tag = format!("\"{:x}-{:016x}{form}\"", bytes.len(), hasher.finish());
    let known = request.headers().get(IF_NONE_MATCH).is_some_and(|known| {
        known.to_str().is_ok_and(|list| list.split(',').any(|one| one.trim().trim_start_matches("W/") == tag))
    });
    let mut response = if known {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        Response::new(match (bytes, packed) {
            (bytes, true) => match gzip(&bytes) {
                Ok(packed) => Body::from(packed),
                Err(e) => {
                    return answer(StatusCode::INTERNAL_SERVER_ERROR, format!("cannot be packed: {e}\n"));
                }
            },
            (Cow::Borrowed(bytes), false) => Body::from(bytes),
            (Cow::Owned(bytes), false) => Body::from(bytes),
        })
    };
    let headers = response.headers_mut();
    if packs {
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    }
    if packed {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(ETAG, tag);
    }
    response
}

/// A file of fewer bytes is sent as it is.
const LEAST_PACKED: usize = 1024;

fn is_text(content_type: &str) -> bool {
    content_type.ends_with("charset=utf-8")
}

/// True where a client takes `gzip`: it names that, or everything, and does not rule it out (RFC 9110,
/// section 12.5.3).
fn takes_gzip(accepted: &HeaderValue) -> bool {
    let Ok(list) = accepted.to_str() else { return false };
    let weight = |wanted: &str| {
        list.split(',').find_map(|one| {
            let mut parts = one.split(';').map(str::trim);
            let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(wanted));
            let q = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
            named.then(|| q.map_or(1.0, |q| q.parse::<f64>().unwrap_or(0.0)))
        })
    };
    weight("gzip").or_else(|| weight("*")).is_some_and(|weight| weight > 0.0)
}

fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut packed = Vec::new();
    flate2::read::GzEncoder::new(bytes, flate2::Compression::default()).read_to_end(&mut packed)?;
    Ok(packed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn on_disk() -> (tempfile::TempDir, Assets) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("secret.txt", "secret"),
            ("page/index.html", "<p>hi"),
            ("page/sub/a b.js", "1"),
            ("page/.hidden", "secret"),
            ("vendor/lib.js", "lib"),
        ] {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let assets = Assets::find("page", &dir.path().join("page")).unwrap();
        (dir, assets)
    }

    async fn text(assets: &Assets, path: &str) -> Option<String> {
        assets.get(path).await.map(|(bytes, _)| String::from_utf8(bytes.into_owned()).unwrap())
    }

    #[tokio::test]
    async fn files_of_the_folder_and_of_vendor_are_served() {
        let (_dir, assets) = on_disk();
        assert_eq!(text(&assets, "/").await.as_deref(), Some("<p>hi"));
        assert_eq!(text(&assets, "/index.html").await.as_deref(), Some("<p>hi"));
        assert_eq!(text(&assets, "/sub/a%20b.js").await.as_deref(), Some("1"));
        assert_eq!(text(&assets, "/vendor/lib.js").await.as_deref(), Some("lib"));
        assert_eq!(assets.get("/sub/a%20b.js").await.unwrap().1, "text/javascript; charset=utf-8");
    }

    #[tokio::test]
    async fn nothing_outside_is() {
        let (dir, assets) = on_disk();
        #[cfg(unix)]
        std::os::unix::fs::symlink(dir.path().join("secret.txt"), dir.path().join("page/link.txt")).unwrap();
        for path in [
            "/../secret.txt",
            "/sub/../../secret.txt",
            "/%2e%2e/secret.txt",
            "/..%2fsecret.txt",
            "/..\\secret.txt",
            "/.hidden",
            "/%2ehidden",
            "//etc/passwd",
            "/sub",
            "/sub/",
            "/nothing",
            "/%",
            "/%zz",
            "/a%00b",
            "/link.txt",
            "/vendor/../secret.txt",
            "/vendor",
            "/vendor/",
            "",
            "secret.txt",
            "*",
        ] {
            assert_eq!(text(&assets, path).await, None, "{path}");
        }
        drop(dir);
    }

    #[test]
    fn a_page_that_is_nowhere_names_those_that_are() {
        assert_eq!(Assets::find("nowhere", Path::new("/nonexistent")), Err(embedded_pages()));
    }

    #[test]
    fn the_embedded_names_are_sorted() {
        assert!(EMBEDDED.is_sorted_by_key(|(name, _)| name));
    }

    proptest! {
        #[test]
        fn no_path_leaves_the_folder(path in "(/|%2f|\\.|%2e|[a-z]|\\\\|%5c|%00|%)*") {
            if let Some(names) = segments(&path) {
                for name in names {
                    prop_assert!(!name.contains('/') && name != ".." && name != "." && !name.is_empty());
                }
            }
        }
    }

    #[test]
    fn gzip_is_for_those_who_take_it() {
        for (accepted, takes) in [
            ("gzip", true),
            ("gzip, deflate, br, zstd", true),
            ("br;q=1.0, GZIP ; q=0.5", true),
            ("*", true),
            ("gzip;q=0, *", false),
            ("*;q=0", false),
            ("identity", false),
            ("x-gzip", false),
            ("gzip;q=much", false),
            ("", false),
        ] {
            assert_eq!(takes_gzip(&HeaderValue::from_static(accepted)), takes, "{accepted}");
        }
    }

    #[tokio::test]
    async fn a_file_is_sent_packed_or_as_it_is_and_each_form_has_its_tag() {
        let dir = tempfile::tempdir().unwrap();
        let text = "const a = 1;\n".repeat(1000);
        std::fs::write(dir.path().join("index.html"), "<p>hi").unwrap();
        std::fs::write(dir.path().join("app.js"), &text).unwrap();
        std::fs::write(dir.path().join("a.png"), &text).unwrap();
        let assets = Arc::new(Assets::find("page", dir.path()).unwrap());
        let ask = |path: &str, accepts: &str, known: &str| {
            let request = Request::builder().uri(path).header(ACCEPT_ENCODING, accepts);
            serve(State(assets.clone()), request.header(IF_NONE_MATCH, known).body(Body::empty()).unwrap())
        };
        let of =
            |response: &Response, name| response.headers().get(name).map(|v| v.to_str().unwrap().to_owned());
        let packed = ask("/app.js", "gzip", "").await;
        assert_eq!(of(&packed, CONTENT_ENCODING).as_deref(), Some("gzip"));
        assert_eq!(of(&packed, VARY).as_deref(), Some("accept-encoding"));
        let tag = of(&packed, ETAG).unwrap();
        let body = axum::body::to_bytes(packed.into_body(), usize::MAX).await.unwrap();
        assert!(body.len() < text.len() / 10);
        let mut back = String::new();
        flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut back).unwrap();
        assert_eq!(back, text);
        let plain = ask("/app.js", "identity", &tag).await;
        assert_eq!((plain.status(), of(&plain, CONTENT_ENCODING)), (StatusCode::OK, None));
        assert_eq!(of(&plain, VARY).as_deref(), Some("accept-encoding"));
        assert_ne!(of(&plain, ETAG).as_ref(), Some(&tag));
        assert_eq!(ask("/app.js", "gzip", &tag).await.status(), StatusCode::NOT_MODIFIED);
        for path in ["/", "/a.png"] {
            assert_eq!(of(&ask(path, "gzip", "").await, CONTENT_ENCODING), None, "{path}");
        }
    }
}

//! The page that a run's browser shows, and what can be done with it.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use bytestring::ByteString;
use serde_json::{Value as Json, json};
use url::Url;

use super::devtools::{Devtools, DevtoolsError};
use super::gate::Gate;
use super::keys;
use super::script::Act;
use crate::value::Value;

/// The functions that a page is asked with.
const FUNCTIONS: &str = include_str!("page.js");
/// Characters of the page's text that the result has.
const TEXT_LIMIT: usize = 1 << 20;
/// What a record keeps whole of one value: a larger picture is taken again as a JPEG.
const PICTURE: usize = 240 << 10;
/// How well a JPEG is kept, first and at last.
const QUALITIES: [u32; 3] = [80, 50, 20];
/// Pause after a page that went away while it was asked.
const AGAIN: Duration = Duration::from_millis(20);
/// Longest side of a picture, in pixels.
const LONGEST: f64 = 16_384.0;

/// Why something was not done.
#[derive(Debug)]
pub(super) enum PageError {
    /// The page is not as it should be.
    Unmet(String),
    /// What is asked for makes no sense.
    Config(String),
    /// The policy denies the address.
    Denied(String),
    /// The address cannot be reached.
    Unreachable(String),
    /// There is no browser any more, or it refused.
    Broken(String),
}

impl From<DevtoolsError> for PageError {
    fn from(error: DevtoolsError) -> Self {
        Self::Broken(error.to_string())
    }
}

/// What was gathered on the way.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) values: Vec<(ByteString, Value)>,
    pub(super) screenshot: Option<Bytes>,
}

/// A page.
pub(super) struct Page {
    pub(super) devtools: Devtools,
    pub(super) session: String,
    pub(super) gate: Gate,
    /// A step that was to use it did not come to its end: it may still be waiting for a page.
    pub(super) unsettled: bool,
}

impl Page {
    /// The first page of a browser.
    pub(super) async fn open(devtools: Devtools, gate: Gate) -> Result<Self, DevtoolsError> {
        let text = |answer: &Json, key: &str| answer[key].as_str().unwrap_or_default().to_owned();
        let deny = json!({"behavior": "deny"});
        devtools.ask(None, "Browser.setDownloadBehavior", deny).await?;
        let target = devtools.ask(None, "Target.createTarget", json!({"url": "about:blank"})).await?;
        let attach = json!({"targetId": text(&target, "targetId"), "flatten": true});
        let attached = devtools.ask(None, "Target.attachToTarget", attach).await?;
        let page = Self { session: text(&attached, "sessionId"), devtools, gate, unsettled: false };
        // Its dialogs are told, so that they can be answered.
        page.ask("Page.enable", json!({})).await?;
        Ok(page)
    }

    async fn ask(&self, method: &str, parameters: Json) -> Result<Json, DevtoolsError> {
        self.devtools.ask(Some(&self.session), method, parameters).await
    }

    /// The window's size, and whether certificates are checked.
    pub(super) async fn set_up(&self, size: (i64, i64), verify: bool) -> Result<(), PageError> {
        let metrics = json!({"width": size.0, "height": size.1, "deviceScaleFactor": 1, "mobile": false});
        self.ask("Emulation.setDeviceMetricsOverride", metrics).await?;
        self.ask("Security.setIgnoreCertificateErrors", json!({"ignore": !verify})).await?;
        Ok(())
    }

    /// Does one thing, which may take up to `patience` until the page is ready for it.
    pub(super) async fn act(&self, act: &Act, patience: Duration, gathered: &mut Gathered) -> Result<(), PageError> {
        match act {
            Act::Goto(url) => self.goto(url).await,
            Act::Back => self.back().await,
            Act::Reload => {
                self.ask("Page.reload", json!({})).await?;
                self.loaded().await
            }
            Act::Click(selector) => self.click(selector, patience).await,
            Act::Hover(selector) => {
                let place = self.until("point", json!([&**selector]), patience).await?;
                self.mouse("mouseMoved", &place, 0).await
            }
            Act::Fill(fields) => {
                for (selector, text) in fields {
                    self.fill(selector, text, patience).await?;
                }
                Ok(())
            }
            Act::Select(fields) => {
                for (selector, option) in fields {
                    self.until("choose", json!([&**selector, &**option]), patience).await?;
                }
                Ok(())
            }
            Act::Tick(selector, wanted) => {
                let place = self.until("tick", json!([&**selector, wanted]), patience).await?;
                if place["done"] == true { Ok(()) } else { self.press_button(&place).await }
            }
            Act::Press { key, selector } => {
                if let Some(selector) = selector {
                    let focus = format!("(page.all({})[0]?.focus(), {{ok: true}})", json!(&**selector));
                    self.until("point", json!([&**selector]), patience).await?;
                    self.evaluate(&expression(&focus)).await?;
                }
                self.press(key).await
            }
            Act::Expect(wanted) => self.until("expect", json!([wanted]), patience).await.map(|_| ()),
            Act::Evaluate(expressions) => {
                for (name, text) in expressions {
                    let value = self.evaluate(text).await?;
                    gathered.values.push((name.clone(), Value::from_json(value)));
                }
                Ok(())
            }
            Act::Screenshot { selector, full_page } => {
                let area = match selector {
                    Some(selector) => Some(self.until("box", json!([&**selector]), patience).await?),
                    None if *full_page => Some(self.whole().await?),
                    None => None,
                };
                gathered.screenshot = Some(self.picture(area).await?);
                Ok(())
            }
        }
    }

    async fn goto(&self, url: &str) -> Result<(), PageError> {
        let parsed = Url::parse(url).map_err(|error| PageError::Config(format!("`{url}` is no URL: {error}")))?;
        if !matches!(parsed.scheme(), "http" | "https" | "data" | "about") {
            return Err(PageError::Config(format!(
                "`{}` cannot be opened: it takes `http` or `https`",
                parsed.scheme()
            )));
        }
        let answer = self.ask("Page.navigate", json!({"url": parsed.as_str()})).await?;
        match answer["errorText"].as_str() {
            None => self.loaded().await,
            Some(trouble) => Err(self.unreachable(&parsed, trouble)),
        }
    }

    fn unreachable(&self, url: &Url, trouble: &str) -> PageError {
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        match self.gate.refusal(host, url.port_or_known_default().unwrap_or_default()) {
            Some(refusal) if refusal.denied => PageError::Denied(refusal.reason),
            Some(refusal) => PageError::Unreachable(refusal.reason),
            None => {
                PageError::Unreachable(format!("`{}` cannot be opened: {trouble}", testmesh_shared::http::shown(url)))
            }
        }
    }

    async fn back(&self) -> Result<(), PageError> {
        let history = self.ask("Page.getNavigationHistory", json!({})).await?;
        let before =
            history["currentIndex"].as_u64().and_then(|at| usize::try_from(at).ok()).unwrap_or(0).checked_sub(1);
        let before = before.ok_or_else(|| PageError::Unmet("there is no page before this one".to_owned()))?;
        let entry = json!({"entryId": history["entries"][before]["id"]});
        self.ask("Page.navigateToHistoryEntry", entry).await?;
        self.loaded().await
    }

    async fn loaded(&self) -> Result<(), PageError> {
        self.evaluate(&expression("page.loaded()")).await.map(|_| ())
    }

    async fn click(&self, selector: &str, patience: Duration) -> Result<(), PageError> {
        let place = self.until("point", json!([selector]), patience).await?;
        self.press_button(&place).await
    }

    async fn press_button(&self, place: &Json) -> Result<(), PageError> {
        self.mouse("mouseMoved", place, 0).await?;
        self.mouse("mousePressed", place, 1).await?;
        self.mouse("mouseReleased", place, 1).await
    }

    async fn mouse(&self, kind: &str, place: &Json, clicks: u32) -> Result<(), PageError> {
        let button = if clicks == 0 { "none" } else { "left" };
        let event = json!({"type": kind, "x": place["x"], "y": place["y"], "button": button, "clickCount": clicks});
        self.ask("Input.dispatchMouseEvent", event).await?;
        Ok(())
    }

    async fn fill(&self, selector: &str, text: &str, patience: Duration) -> Result<(), PageError> {
        let marked = self.until("mark", json!([selector]), patience).await?;
        if marked["special"] == true {
            return self.until("set", json!([selector, text]), patience).await.map(|_| ());
        }
        if !text.is_empty() {
            self.ask("Input.insertText", json!({"text": text})).await?;
        } else if marked["empty"] != true {
            self.evaluate(&expression("page.erase()")).await?;
        }
        Ok(())
    }

    async fn press(&self, key: &str) -> Result<(), PageError> {
        let key = keys::find(key).map_err(PageError::Config)?;
        for (kind, text) in [("keyDown", key.text), ("keyUp", None)] {
            let mut event = json!({"type": kind, "key": key.name, "code": key.code, "windowsVirtualKeyCode": key.number, "modifiers": key.modifiers});
            if let Some(text) = text {
                event["text"] = text.into();
            }
            self.ask("Input.dispatchKeyEvent", event).await?;
        }
        Ok(())
    }

    /// Asks one of the page's functions until its answer is good.
    async fn until(&self, function: &str, arguments: Json, patience: Duration) -> Result<Json, PageError> {
        let end = Instant::now() + patience;
        let list = arguments.as_array().map(|all| all.iter().map(Json::to_string).collect::<Vec<_>>().join(", "));
        let call = format!("page.{function}({})", list.unwrap_or_default());
        loop {
            let left = end.saturating_duration_since(Instant::now()).as_millis();
            let answer = self.evaluate(&expression(&format!("page.until({left}, () => {call})"))).await?;
            if answer["ok"] == true {
                return Ok(answer);
            }
            // Its time may have run out on a page that went away.
            if answer["final"] == true || end <= Instant::now() {
                let problem = answer["problem"].as_str().unwrap_or("the page does not answer");
                return Err(PageError::Unmet(problem.to_owned()));
            }
        }
    }

    /// The value of an expression, awaited. A page that goes away meanwhile is followed by the next one.
    async fn evaluate(&self, expression: &str) -> Result<Json, PageError> {
        let question =
            json!({"expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true});
        loop {
            match self.ask("Runtime.evaluate", question.clone()).await {
                Ok(mut answer) => {
                    let details = &answer["exceptionDetails"];
                    if details.is_null() {
                        return Ok(answer["result"]["value"].take());
                    }
                    let thrown = details["exception"]["description"].as_str().or(details["text"].as_str());
                    let first = thrown.unwrap_or_default().lines().next().unwrap_or_default();
                    return Err(PageError::Config(first.to_owned()));
                }
                Err(DevtoolsError::Refused(text)) if is_gone(&text) => tokio::time::sleep(AGAIN).await,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether the browser still answers.
    pub(super) async fn is_there(&self) -> bool {
        self.ask("Page.enable", json!({})).await.is_ok()
    }

    /// Gives up what is being loaded: until then a page may answer nothing.
    pub(super) async fn settle(&mut self) -> Result<(), PageError> {
        if self.unsettled {
            self.ask("Page.stopLoading", json!({})).await?;
            self.unsettled = false;
        }
        Ok(())
    }

    /// Title, URL and text.
    pub(super) async fn state(&self) -> Result<Json, PageError> {
        self.evaluate(&expression(&format!("page.state({TEXT_LIMIT})"))).await
    }

    async fn whole(&self) -> Result<Json, PageError> {
        let size = self.ask("Page.getLayoutMetrics", json!({})).await?;
        Ok(size["cssContentSize"].clone())
    }

    /// A picture of the window, or of a part of the page.
    pub(super) async fn picture(&self, area: Option<Json>) -> Result<Bytes, PageError> {
        let mut question = json!({"format": "png"});
        if let Some(area) = area {
            let side = |key: &str| area[key].as_f64().unwrap_or(1.0).clamp(1.0, LONGEST);
            question["clip"] =
                json!({"x": area["x"], "y": area["y"], "width": side("width"), "height": side("height"), "scale": 1});
            question["captureBeyondViewport"] = true.into();
        }
        let mut picture = self.take(&question).await?;
        for quality in QUALITIES {
            if picture.len() <= PICTURE {
                break;
            }
            question["format"] = "jpeg".into();
            question["quality"] = quality.into();
            picture = self.take(&question).await?;
        }
        Ok(picture)
    }

    async fn take(&self, question: &Json) -> Result<Bytes, PageError> {
        let answer = self.ask("Page.captureScreenshot", question.clone()).await?;
        let picture = STANDARD.decode(answer["data"].as_str().unwrap_or_default());
        picture.map(Bytes::from).map_err(|error| PageError::Broken(format!("a picture cannot be read: {error}")))
    }
}

fn expression(call: &str) -> String {
    format!("(async () => {{ const page = {FUNCTIONS}; return await {call}; }})()")
}

/// Whether the browser means that the page which was asked is not there any more.
fn is_gone(refusal: &str) -> bool {
    ["context was destroyed", "Cannot find context", "navigated or closed", "Promise was collected"]
        .iter()
        .any(|text| refusal.contains(text))
}

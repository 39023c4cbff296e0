//! Pages of runs: JSON arrays, as Agno 3.1.10 answers them, with a `Link` to the next page.
//!
//! Runs are loaded and written one after the other, so that a list takes no more memory than the bytes of its answer.

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use kern_db::{RunFilter, RunId};
use serde_json::Value;

use super::Os;
use super::fields::Fields;
use super::problem::Problem;

/// Runs a page where the client names no number, and at the most.
const MOST: u32 = 1000;

/// The part of a list of runs that a client asks for.
#[derive(Debug)]
pub(super) struct RunsPage {
    limit: u32,
    page: Option<u32>,
    after: Option<RunId>,
}

impl RunsPage {
    pub(super) fn of(fields: &mut Fields) -> Self {
        let limit = fields.number("limit", 1..=MOST).unwrap_or(MOST);
        let page = fields.number("page", 1..=u32::MAX);
        let after = fields.short("cursor", 255).map(RunId::from);
        fields.page_or_cursor();
        Self { limit, page, after }
    }

    /// Whether rows may come before this page.
    pub(super) fn is_later(&self) -> bool {
        self.after.is_some() || self.page.is_some_and(|page| page > 1)
    }

    /// Ids of the runs of this page, and of one more if there is a next page.
    async fn ids(&self, os: &Os, filter: RunFilter) -> Result<Vec<RunId>, Problem> {
        let filter = filter.limit(self.limit + 1);
        let filter = match &self.after {
            Some(after) => filter.after(after.clone()),
            None => filter,
        };
        let skip = u64::from(self.page.unwrap_or(1) - 1) * u64::from(self.limit);
        Ok(os.db.run_ids(filter, skip).await?)
    }

    /// Answers with a page of runs, each of them loaded and shown by `show`. `None`: there are none on it. A run that `show`
    /// returns nothing for is left out.
    ///
    /// # Errors
    ///
    /// A page that was asked for by its number has more bytes than a list may have. Cut short, it would hide runs: the next
    /// number names the runs after those that were left out.
    pub(super) async fn listed<F: Future<Output = Result<Option<Value>, Problem>> + Send>(
        self,
        os: &Os,
        filter: RunFilter,
        query: Option<String>,
        show: impl Fn(RunId) -> F + Send,
    ) -> Result<Option<Response>, Problem> {
        let most = os.limits.list;
        let ids = self.ids(os, filter).await?;
        if ids.is_empty() {
            return Ok(None);
        }
        let mut json = vec![b'['];
        let mut next = None;
        let mut last = None;
        for (place, id) in ids.into_iter().enumerate() {
            if place == usize::try_from(self.limit).unwrap_or(usize::MAX) {
                next = last;
                break;
            }
            if let Some(shown) = show(id.clone()).await? {
                let start = json.len();
                if start > 1 {
                    json.push(b',');
                }
                serde_json::to_writer(&mut json, &shown).expect("a run is JSON");
                if json.len() > most && start > 1 {
                    if self.page.is_some() {
                        return Err(too_large(most));
                    }
                    json.truncate(start);
                    next = last;
                    break;
                }
            }
            last = Some(id);
        }
        if json.len() == 1 && next.is_none() {
            return Ok(None);
        }
        json.push(b']');
        let mut response = ([(header::CONTENT_TYPE, "application/json")], json).into_response();
        if let Some(next) = next {
            let link =
                HeaderValue::try_from(link_to(query.as_deref(), &next)).expect("what is percent-encoded fits a header");
            response.headers_mut().insert(header::LINK, link);
        }
        Ok(Some(response))
    }
}

/// A list that is found by its number or has no pages: in one answer, or not at all.
///
/// # Errors
///
/// It has more bytes than a list may have.
pub(super) fn whole(os: &Os, list: &Value) -> Result<Response, Problem> {
    let json = list.to_string();
    if json.len() > os.limits.list {
        let what = "ask for fewer rows with `limit`";
        return Err(kern_db::Error::Invalid(format!("this list has more than {} bytes: {what}", os.limits.list)).into());
    }
    Ok(([(header::CONTENT_TYPE, "application/json")], json).into_response())
}

/// The problem of a page that was asked for by its number and has more bytes than a list may have.
fn too_large(most: usize) -> Problem {
    let what = "ask for fewer rows with `limit`, or go on with `cursor` instead of `page`";
    kern_db::Error::Invalid(format!("this page has more than {most} bytes: {what}")).into()
}

/// A `Link` (RFC 8288) to the same list after this run.
fn link_to(query: Option<&str>, next: &RunId) -> String {
    let mut link = form_urlencoded::Serializer::new(String::new());
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        if name != "page" && name != "cursor" {
            link.append_pair(&name, &value);
        }
    }
    format!("<?{}>; rel=\"next\"", link.append_pair("cursor", next.as_str()).finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_keeps_what_was_asked_for() {
        let next = RunId::from("r\"1");
        let link = link_to(Some("session_id=a%20b&page=2&cursor=x&limit=5"), &next);
        assert_eq!(link, "<?session_id=a+b&limit=5&cursor=r%221>; rel=\"next\"");
    }
}

//! Questions with options: `UserFeedbackQuestion`, with the JSON of the reference.

use serde::{Deserialize, Serialize};

/// One question that a call asks the user, with the options to choose from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct UserFeedbackQuestion {
    /// The question in full. It names the question: no other of the call has the same.
    pub question: String,
    /// One or two words, at most 12 characters.
    #[serde(default)]
    pub header: Option<String>,
    /// Whether several options may be chosen.
    #[serde(default)]
    pub multi_select: bool,
    /// The labels that were chosen, where the question is answered.
    #[serde(default)]
    pub selected_options: Option<Vec<String>>,
    /// What there is to choose from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<UserFeedbackOption>,
}

/// One option of a [`UserFeedbackQuestion`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct UserFeedbackOption {
    /// Its label. No other option of the question has the same.
    pub label: String,
    /// What choosing it means.
    #[serde(default)]
    pub description: Option<String>,
    /// Whether it was chosen. Only shown: what counts is `selected_options` of the question.
    #[serde(default)]
    pub selected: bool,
}

impl UserFeedbackQuestion {
    /// What is wrong with choosing these labels.
    pub(crate) fn wrong_selection(&self, labels: &[String]) -> Option<String> {
        let asked = &self.question;
        if let Some(unknown) = labels.iter().find(|label| !self.options.iter().any(|option| option.label == **label)) {
            return Some(format!("`{unknown}` is no option of `{asked}`"));
        }
        if let Some((_, twice)) = labels.iter().enumerate().find(|(place, label)| labels[..*place].contains(label)) {
            return Some(format!("`{twice}` is chosen twice for `{asked}`"));
        }
        (!self.multi_select && labels.len() != 1)
            .then(|| format!("`{asked}` takes one option, {} are chosen", labels.len()))
    }

    /// Marks the labels as chosen.
    pub(crate) fn select(&mut self, labels: Vec<String>) {
        for option in &mut self.options {
            option.selected = labels.contains(&option.label);
        }
        self.selected_options = Some(labels);
    }
}

/// Fills open questions with the answers that stand beside them. Says whether it filled any.
pub(super) fn fill_questions(questions: &mut [UserFeedbackQuestion], beside: &[UserFeedbackQuestion]) -> bool {
    let mut filled = false;
    for question in questions.iter_mut().filter(|question| question.selected_options.is_none()) {
        let other = beside.iter().find(|other| other.question == question.question);
        if let Some(labels) = other.and_then(|other| other.selected_options.clone()) {
            question.select(labels);
            filled = true;
        }
    }
    filled
}

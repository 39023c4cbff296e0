//! Models by name, for example `openai:gpt-4o-mini`, and what an agent takes as its model.

use std::sync::Arc;

use super::{Model, ModelError};

/// Makes a model of its name, `provider:model`.
///
/// `openai:` (feature `openai`) is known. The key and the address come from the provider's environment variables.
///
/// # Errors
///
/// [`ModelError::Setup`] when the name has no provider, one that is not known, or one whose feature is off. A missing
/// key shows at the first request.
pub fn from_name(name: &str) -> Result<Arc<dyn Model>, ModelError> {
    let (provider, model) =
        name.split_once(':').map(|(provider, model)| (provider.trim(), model.trim())).ok_or_else(|| {
            ModelError::Setup(format!(
                "`{name}` names no provider: write `provider:model`, for example `openai:{name}`"
            ))
        })?;
    if model.is_empty() {
        return Err(ModelError::Setup(format!(
            "`{name}` names no model: write `provider:model`, for example `openai:gpt-4o-mini`"
        )));
    }
    match provider {
        #[cfg(feature = "openai")]
        "openai" => Ok(Arc::new(super::openai::OpenAIChat::new(model))),
        #[cfg(not(feature = "openai"))]
        "openai" => Err(ModelError::Setup(format!(
            "`{name}` needs the feature `openai` of kern: write `kern = {{ features = [\"openai\"] }}` in Cargo.toml"
        ))),
        _ => Err(ModelError::Setup(format!(
            "`{name}` names the provider `{provider}`, which kern does not know: write `openai:{model}`, or give a \
             value that implements `Model`"
        ))),
    }
}

/// What can be given as a model: a [`Model`], a shared one, or a name as [`from_name`] takes it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no model",
    note = "give a value that implements `Model`, an `Arc<dyn Model>`, or a name such as \"openai:gpt-4o-mini\""
)]
pub trait IntoModel {
    /// Makes the model.
    ///
    /// # Errors
    ///
    /// [`ModelError::Setup`] when a name stands for no model.
    fn into_model(self) -> Result<Arc<dyn Model>, ModelError>;
}

impl<M: Model> IntoModel for M {
    fn into_model(self) -> Result<Arc<dyn Model>, ModelError> {
        Ok(Arc::new(self))
    }
}

impl IntoModel for Arc<dyn Model> {
    fn into_model(self) -> Result<Arc<dyn Model>, ModelError> {
        Ok(self)
    }
}

impl IntoModel for &str {
    fn into_model(self) -> Result<Arc<dyn Model>, ModelError> {
        from_name(self)
    }
}

impl IntoModel for String {
    fn into_model(self) -> Result<Arc<dyn Model>, ModelError> {
        from_name(&self)
    }
}

impl IntoModel for &String {
    fn into_model(self) -> Result<Arc<dyn Model>, ModelError> {
        from_name(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{ScriptedModel, turn};

    fn refusal(name: &str) -> String {
        match from_name(name) {
            Err(error @ ModelError::Setup(_)) => error.to_string(),
            Err(error) => panic!("{name}: {error:?}"),
            Ok(model) => panic!("{name} made {}", model.id()),
        }
    }

    #[test]
    fn a_name_that_stands_for_no_model_is_told_what_to_write() {
        for (name, hint) in [
            ("gpt-4o-mini", "openai:gpt-4o-mini"),
            ("openai:", "openai:gpt-4o-mini"),
            ("", "provider:model"),
            ("nobody:m1", "openai:m1"),
        ] {
            assert!(refusal(name).contains(hint), "{}", refusal(name));
        }
    }

    #[cfg(not(feature = "openai"))]
    #[test]
    fn without_the_feature_the_name_says_which_one_to_turn_on() {
        assert!(refusal("openai:gpt-4o-mini").contains("feature `openai`"));
    }

    #[cfg(feature = "openai")]
    #[test]
    fn a_name_may_hold_further_colons() {
        for model in ["openai:ft:gpt-4o:acme".into_model(), "openai:ft:gpt-4o:acme".to_owned().into_model()] {
            let model = model.unwrap();
            assert_eq!((model.id(), model.provider()), ("ft:gpt-4o:acme", "OpenAI"));
        }
    }

    #[test]
    fn a_model_and_a_shared_model_are_taken_as_they_are() {
        let model = ScriptedModel::new([turn().text("hi")]).id("mine");
        assert_eq!(model.clone().into_model().unwrap().id(), "mine");
        let shared: Arc<dyn Model> = Arc::new(model);
        assert!(Arc::ptr_eq(&shared, &Arc::clone(&shared).into_model().unwrap()));
    }
}

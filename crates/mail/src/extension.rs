//! This crate as a feature of the server.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::schema_for;
use systemprompt_config::{Configuration, Problem, SectionSpec};
use systemprompt_extension::prelude::*;
use systemprompt_extension::register_built_in;

use crate::{MailConfig, Mailer, Settings};

const ID: &str = "mail";

/// Mail. Publishes the [`Mailer`].
#[derive(Debug, Default, Clone, Copy)]
pub struct MailExtension;

register_built_in!(MailExtension);

#[async_trait]
impl Extension for MailExtension {
    fn metadata(&self) -> ExtensionMetadata {
        ExtensionMetadata { id: ID, name: "Mail", version: env!("CARGO_PKG_VERSION") }
    }

    fn priority(&self) -> u32 {
        5
    }

    fn is_required(&self) -> bool {
        true
    }

    fn config_sections(&self) -> Vec<SectionSpec> {
        vec![SectionSpec { place: MailConfig::PLACE, schema: schema_for!(MailConfig).into(), extension: ID }]
    }

    fn validate_sections(&self, config: &Configuration) -> Vec<Problem> {
        // What does not fit the type was reported with its place.
        let mail = MailConfig::read(config).ok().flatten();
        mail.map(|mail| mail.problems(config)).unwrap_or_default()
    }

    async fn provides(&self, ctx: &dyn ExtensionContext, services: &mut ServiceMap) -> Result<(), LoaderError> {
        let settings = Settings::read(ctx.configuration()).map_err(|error| LoaderError::failed(ID, &error))?;
        let mailer = Mailer::new(settings, ctx.metrics()).map_err(|error| LoaderError::failed(ID, &error))?;
        services.insert(Arc::new(mailer));
        Ok(())
    }

    async fn reload(
        &self,
        ctx: &dyn ExtensionContext,
        configuration: &Arc<Configuration>,
    ) -> Result<Option<Reload>, LoaderError> {
        let mailer = ctx.service::<Mailer>()?;
        let settings = Settings::read(configuration).map_err(|error| LoaderError::failed(ID, &error))?;
        let password = settings.as_ref().and_then(|settings| settings.password_name.clone());
        let relay = Mailer::prepare(settings).await.map_err(|error| LoaderError::failed(ID, &error))?;
        let apply = async move {
            mailer.put_in_force(relay);
            Ok(())
        };
        Ok(Some(Reload::new(apply).with_secrets(password)))
    }
}

//! The house rules in front of an effect, through the Gate of the product.

use std::time::Duration;

use systemprompt::axum::body::Bytes;
use systemprompt::extension::policy::{Estimate, Subject, Texts, Usage};
use systemprompt::governance::{
    Action, Denial, Effect, Facts, FactsWriter, Gate, Inspection, Outcome, Permit, Refusal, Target,
};
use systemprompt::identifiers::{ActionId, ApiKeyId, SessionId, TraceId, UserId};
use systemprompt::models::{ActorChain, Attribution, Credential, EntityKind, Principal, Resource, UserType};
use systemprompt::serde_json::json;
use systemprompt::testing::TestContext;
use systemprompt::traits::ExtensionContext as _;

use house_rules_extension::HouseRules;

/// Asking something that answers.
struct Ask {
    tokens: u64,
}

struct Answered;

impl Effect for Ask {
    const KIND: &'static str = "ask";
    type Result = Answered;

    fn subject(&self) -> Subject<'_> {
        Subject::Prompt
    }

    fn facts(&self, facts: &mut FactsWriter<'_, '_>) {
        facts.count("tokens", Some(self.tokens));
    }

    fn estimate(&self) -> Estimate {
        Estimate::exactly(Usage { output_tokens: self.tokens, ..Usage::ONE_CALL })
    }
}

impl Facts for Answered {
    fn facts(&self, _: &mut FactsWriter<'_, '_>) {}
}

async fn server() -> TestContext {
    TestContext::builder()
        .extension(HouseRules)
        .document(
            "access-control/oracle.yaml",
            json!({"rules": [{"entity_type": "gateway_route", "entity_id": "demo", "roles": ["user"]}]}),
        )
        .settings("house_rules", json!({"words": ["Xyzzy"], "tokens_per_day": 1000}))
        .start()
        .await
}

async fn ask(server: &TestContext, user: UserId, content: &'static str, tokens: u64) -> Result<Permit<Ask>, Refusal> {
    let ambient = server.ambient();
    let principal = Principal {
        user_id: user,
        user_name: "maya".to_owned(),
        user_type: UserType::User,
        roles: vec!["user".to_owned()],
        attributes: std::collections::BTreeMap::new(),
        credential: Credential::ApiKey(ApiKeyId::generate(ambient)),
    };
    let action = Action {
        id: ActionId::generate(ambient),
        by: Attribution {
            principal: principal.into(),
            actors: ActorChain::user(user),
            session: Some(SessionId::generate(ambient)),
            context: None,
            task: None,
            trace: TraceId::generate(ambient),
            client: None,
        },
        resource: Resource::entity(EntityKind::GatewayRoute, "demo"),
        targets: vec![Target::new("oracle")],
        content: Bytes::from_static(content.as_bytes()),
        effect: Ask { tokens },
        received_at: ambient.now(),
    };
    server.services().require::<Gate>().expect("governance provides the Gate").admit(action).await
}

fn denied(result: Result<Permit<Ask>, Refusal>) -> Denial {
    match result {
        Err(Refusal::Denied(denial)) => denial,
        other => panic!("expected a denial, got {other:?}"),
    }
}

#[tokio::test]
async fn a_word_is_neither_sent_nor_answered() {
    let server = server().await;
    let user = UserId::generate(server.ambient());
    let denial = denied(ask(&server, user, "say XYZZY", 1).await);
    assert_eq!(denial.to_string(), "[house_rules.words]: it contains word 1 of the list of this house");

    denied(ask(&server, user, r#"{"text":"say \u0078YZZY"}"#, 1).await);

    let permit = ask(&server, user, "say something", 1).await.expect("nothing against it");
    let (_, mut running) = permit.begin(&Target::new("oracle")).expect("it is the target");
    assert!(running.is_inspected(Subject::Answer));
    let mut inspect = async |answer: &'static str| {
        let answer = Bytes::from_static(answer.as_bytes());
        running.inspect(Subject::Answer, &answer, &Texts::of(&answer), Duration::from_secs(30)).await
    };
    assert_eq!(inspect("plugh").await, Inspection::Give);
    // However it is written.
    for answer in ["a xyzzy", r#"{"text":"line\nxyzzy"}"#, r#"{"text":"\u0078yzzy"}"#] {
        let inspection = inspect(answer).await;
        assert!(
            matches!(&inspection, Inspection::Withhold(denial) if denial.code == "house_rules_word"),
            "{answer}: {inspection:?}"
        );
    }
    running.finish(Outcome::failed("withheld"));
}

#[tokio::test]
async fn tokens_are_set_aside_counted_and_given_back() {
    let server = server().await;
    let user = UserId::generate(server.ambient());
    let target = Target::new("oracle");
    // What is refused for a word, or not done, costs nothing.
    denied(ask(&server, user, "say xyzzy", 900).await);
    drop(ask(&server, user, "never mind", 900).await.expect("there is enough"));

    let permit = ask(&server, user, "long", 900).await.expect("there is enough");
    denied(ask(&server, user, "while it runs", 200).await);
    let (_, running) = permit.begin(&target).expect("it is the target");
    let usage = Usage { output_tokens: 100, ..Usage::ONE_CALL };
    running.finish(Outcome { usage, ..Outcome::completed(Answered) });

    let permit = ask(&server, user, "it used a hundred", 900).await.expect("the rest was given back");
    let (_, running) = permit.begin(&target).expect("it is the target");
    let usage = Usage { output_tokens: 900, ..Usage::ONE_CALL };
    running.finish(Outcome { usage, ..Outcome::completed(Answered) });
    let denial = denied(ask(&server, user, "no more", 1).await);
    assert_eq!((denial.policy.as_str(), denial.code), ("house_rules.budget", "house_rules_budget"));
    assert!(denial.retry_after.is_some());
    let other = UserId::generate(server.ambient());
    assert!(ask(&server, other, "somebody else", 900).await.is_ok());
}

#[tokio::test]
async fn users_of_models_are_told_which_rule_it_was() {
    let server = server().await;
    let maya = server.user("maya", &["user"]).await;
    let ask =
        |text: &str| json!({"model": "demo-1", "max_tokens": 20, "messages": [{"role": "user", "content": text}]});
    let refused = maya.post("/v1/messages", &ask("say xyzzy")).await;
    assert_eq!(refused.status, 451, "{}", refused.text());
    let told = refused.json()["error"]["message"].to_string();
    assert!(told.contains("[house_rules.words]: it contains word 1"), "{told}");
    let answered = maya.post("/v1/messages", &ask("say something")).await;
    assert_eq!(answered.status, 200, "{}", answered.text());
}

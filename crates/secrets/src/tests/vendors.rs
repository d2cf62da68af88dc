//! Sixty vendors, each credential as its documentation describes it, in the four ways it gets into a conversation: a variable
//! of the environment, a settings file in JSON, a sentence of a person, a line of a program.
//!
//! These were written from the documentation of the vendors and not from the tables of [`kinds`](crate::kinds), so that the
//! figure says something of what is not in them.

use std::collections::BTreeMap;

use crate::pattern::Pattern;
use crate::samples::Chooser;
use crate::{Options, Scanner};

/// How often each is made anew.
const TIMES: u64 = 8;
/// Of a hundred so many are found at least.
const LEAST: usize = 90;

struct Vendor {
    name: &'static str,
    /// What its credential looks like.
    credential: &'static str,
    /// Where it is put; `{}` is the credential.
    env: &'static str,
    json: &'static str,
    prose: &'static str,
    code: &'static str,
}

macro_rules! vendors {
    ($($name:literal $credential:literal { $env:literal $json:literal $prose:literal $code:literal })*) => {
        &[$(Vendor { name: $name, credential: $credential, env: $env, json: $json, prose: $prose, code: $code }),*]
    };
}

#[rustfmt::skip]
const VENDORS: &[Vendor] = vendors! {
    "Ably" r"<b62>{6}\.<b62>{6}:<url>{43}" {
        "ABLY_API_KEY={}"
        r#"{"ably": {"key": "{}", "clientId": "dashboard"}}"#
        "I put the Ably key {} into the staging config, can you check that publishing works?"
        "const ably = new Ably.Realtime('{}');"
    }
    "Adyen" "AQE<b62>{60}-<b64>{43}=-<b62>{16}" {
        "ADYEN_API_KEY=\"{}\""
        r#"{"adyen": {"merchantAccount": "AcmeECOM", "apiKey": "{}"}}"#
        "The Adyen API key for the live account is {}"
        "Client client = new Client(\"{}\", Environment.LIVE);"
    }
    "Airtable" r"pat<b62>{14}\.<hex>{64}" {
        "AIRTABLE_TOKEN={}"
        r#"{"airtable": {"baseId": "appWbVGt2mmvJBGu0", "token": "{}"}}"#
        "use this token for Airtable: {} (read only)"
        "Airtable.configure({ apiKey: '{}' });"
    }
    "Algolia" "<hex>{32}" {
        "ALGOLIA_ADMIN_API_KEY={}"
        r#"{"algolia": {"applicationID": "YPLN7A4K2Q", "adminApiKey": "{}"}}"#
        "our Algolia admin key is {}, please reindex the products"
        "const client = algoliasearch('YPLN7A4K2Q', '{}');"
    }
    "Amplitude" "<hex>{32}" {
        "AMPLITUDE_SECRET_KEY={}"
        r#"{"analytics": {"amplitude": {"secret_key": "{}"}}}"#
        "Amplitude secret key: {}"
        "curl -u 7ee1f04b8f2a4bc2a7f6f6ddc1d3a8e1:{} 'https://amplitude.com/api/2/export'"
    }
    "Asana" "1/<num>{16}:<hex>{32}" {
        "ASANA_ACCESS_TOKEN={}"
        r#"{"asana": {"accessToken": "{}"}}"#
        "My Asana personal access token is {}."
        "client = asana.Client.access_token('{}')"
    }
    "Atlassian" "ATATT3xFfGF0<url>{171}=<up>{8}" {
        "JIRA_API_TOKEN={}"
        r#"{"jira": {"host": "acme.atlassian.net", "email": "ann@acme.com", "apiToken": "{}"}}"#
        "you can log in to Jira as ann@acme.com with {}"
        "jira = JIRA('https://acme.atlassian.net', basic_auth=('ann@acme.com', '{}'))"
    }
    "Auth0" "<url>{64}" {
        "AUTH0_CLIENT_SECRET={}"
        r#"{"auth0": {"domain": "acme.eu.auth0.com", "client_id": "kT4Pq8sLw0", "client_secret": "{}"}}"#
        "The client secret of the Auth0 application is {}"
        "new ManagementClient({ domain: 'acme.eu.auth0.com', clientSecret: '{}' })"
    }
    "AWS" "<b64>{40}" {
        "AWS_SECRET_ACCESS_KEY={}"
        r#"{"aws": {"region": "eu-west-1", "accessKeyId": "AKIAIOSFODNN7EXAMPLE", "secretAccessKey": "{}"}}"#
        "AWS secret access key: {}"
        "boto3.client('s3', aws_secret_access_key='{}')"
    }
    "Azure Storage" "<b64>{86}==" {
        "AZURE_STORAGE_CONNECTION_STRING=\"DefaultEndpointsProtocol=https;AccountName=acme;AccountKey={};EndpointSuffix=core.windows.net\""
        r#"{"AzureStorage": {"AccountName": "acme", "AccountKey": "{}"}}"#
        "The storage account key is {}"
        "var credential = new StorageSharedKeyCredential(\"acme\", \"{}\");"
    }
    "Azure AD" "<b62>{3}8Q~<url>{34}" {
        "AZURE_CLIENT_SECRET={}"
        r#"{"AzureAd": {"TenantId": "common", "ClientSecret": "{}"}}"#
        "the new secret of the app registration: {}"
        "new ClientSecretCredential(tenantId, clientId, \"{}\")"
    }
    "Backblaze" "K00<num>{1}<b64>{27}" {
        "B2_APPLICATION_KEY={}"
        r#"{"backblaze": {"keyID": "0012ab34cd56ef7", "applicationKey": "{}"}}"#
        "b2 application key: {}"
        "b2_api.authorize_account('production', '0012ab34cd56ef7', '{}')"
    }
    "Braintree" "<hex>{32}" {
        "BRAINTREE_PRIVATE_KEY={}"
        r#"{"braintree": {"merchantId": "x8y", "publicKey": "n7d2", "privateKey": "{}"}}"#
        "Braintree's private key in production is {}"
        "gateway = braintree.connect({ environment: 'production', privateKey: '{}' });"
    }
    "Brevo" "xkeysib-<hex>{64}-<b62>{16}" {
        "BREVO_API_KEY={}"
        r#"{"mail": {"provider": "brevo", "key": "{}"}}"#
        "take {} for Brevo"
        "apiInstance.setApiKey(TransactionalEmailsApiApiKeys.apiKey, '{}');"
    }
    "Bugsnag" "<hex>{32}" {
        "BUGSNAG_API_KEY={}"
        r#"{"bugsnag": {"apiKey": "{}"}}"#
        "The Bugsnag API key: {}"
        "Bugsnag.start({ apiKey: '{}' })"
    }
    "Buildkite" "bkua_<hex>{40}" {
        "BUILDKITE_API_TOKEN={}"
        r#"{"buildkite": {"token": "{}"}}"#
        "ask the pipeline with {}"
        "client = Buildkit.new(token: '{}')"
    }
    "Chargebee" "live_<b62>{32}" {
        "CHARGEBEE_API_KEY={}"
        r#"{"chargebee": {"site": "acme", "api_key": "{}"}}"#
        "the live Chargebee key is {}"
        "chargebee.configure({ site: 'acme', api_key: '{}' });"
    }
    "CircleCI" "CCIPAT_<b62>{22}_<hex>{40}" {
        "CIRCLECI_TOKEN={}"
        r#"{"circleci": {"token": "{}"}}"#
        "CircleCI wants {}"
        "headers = {'Circle-Token': '{}'}"
    }
    "Cloudflare" "<url>{40}" {
        "CLOUDFLARE_API_TOKEN={}"
        r#"{"cloudflare": {"zone": "acme.com", "api_token": "{}"}}"#
        "Our Cloudflare token: {}"
        "cf = Cloudflare(api_token=\"{}\")"
    }
    "Cloudinary" "<url>{27}" {
        "CLOUDINARY_URL=cloudinary://381294710583926:{}@acme"
        r#"{"cloudinary": {"cloud_name": "acme", "api_key": "381294710583926", "api_secret": "{}"}}"#
        "the Cloudinary api secret is {}"
        "cloudinary.config({ cloud_name: 'acme', api_secret: '{}' });"
    }
    "Coinbase" "<b62>{32}" {
        "COINBASE_API_SECRET={}"
        r#"{"exchanges": {"coinbase": {"apiKey": "a1", "secret": "{}"}}}"#
        "Coinbase API secret {}"
        "exchange = ccxt.coinbase({'apiKey': key, 'secret': '{}'})"
    }
    "Confluent" "<b64>{64}" {
        "CONFLUENT_CLOUD_API_SECRET={}"
        r#"{"sasl.mechanisms": "PLAIN", "sasl.username": "CKAFKAUSER", "sasl.password": "{}"}"#
        "Confluent API secret: {}"
        "'sasl.password': '{}',"
    }
    "Contentful" "CFPAT-<url>{43}" {
        "CONTENTFUL_MANAGEMENT_TOKEN={}"
        r#"{"contentful": {"space": "k4tp", "managementToken": "{}"}}"#
        "import with {} please"
        "contentful.createClient({ accessToken: '{}' })"
    }
    "Databricks" "dapi<hex>{32}" {
        "DATABRICKS_TOKEN={}"
        r#"{"databricks": {"host": "https://acme.cloud.databricks.com", "token": "{}"}}"#
        "Databricks: {}"
        "w = WorkspaceClient(host=host, token='{}')"
    }
    "Datadog" "<hex>{32}" {
        "DD_API_KEY={}"
        r#"{"datadog": {"site": "datadoghq.eu", "apiKey": "{}"}}"#
        "here is the Datadog API key: {}"
        "initialize(api_key='{}', app_key=app_key)"
    }
    "DigitalOcean" "dop_v1_<hex>{64}" {
        "DIGITALOCEAN_ACCESS_TOKEN={}"
        r#"{"do": {"token": "{}"}}"#
        "doctl auth init with {}"
        "client := godo.NewFromToken(\"{}\")"
    }
    "Discord" r"M<b62>{23}\.<url>{6}\.<url>{38}" {
        "DISCORD_TOKEN={}"
        r#"{"prefix": "!", "token": "{}"}"#
        "the bot logs in with {}"
        "client.login('{}');"
    }
    "Docker Hub" "dckr_pat_<url>{27}" {
        "DOCKERHUB_TOKEN={}"
        r#"{"registry": {"username": "acme", "password": "{}"}}"#
        "docker login as acmebot and {}"
        "echo {} | docker login -u acme --password-stdin"
    }
    "Dropbox" "<low>{15}" {
        "DROPBOX_APP_SECRET={}"
        r#"{"dropbox": {"app_key": "k2h4", "app_secret": "{}"}}"#
        "the Dropbox app secret is {}"
        "dbx = dropbox.Dropbox(app_key=key, app_secret='{}')"
    }
    "Fastly" "<url>{32}" {
        "FASTLY_API_TOKEN={}"
        r#"{"fastly": {"service_id": "SU1Z0isxPaozGVKXdv0eY", "api_key": "{}"}}"#
        "Fastly API token for purging: {}"
        "curl -X POST -H 'Fastly-Key: {}' https://api.fastly.com/service/purge_all"
    }
    "Figma" "figd_<url>{40}" {
        "FIGMA_TOKEN={}"
        r#"{"figma": {"personalAccessToken": "{}"}}"#
        "Figma export, {} works for me"
        "headers: { 'X-Figma-Token': '{}' }"
    }
    "Freshdesk" "<b62>{20}" {
        "FRESHDESK_API_KEY={}"
        r#"{"freshdesk": {"domain": "acme", "apiKey": "{}"}}"#
        "The API key of our Freshdesk is {}"
        "curl -u {}:X https://acme.freshdesk.com/api/v2/tickets"
    }
    "GitLab" "glpat-<url>{20}" {
        "GITLAB_TOKEN={}"
        r#"{"gitlab": {"privateToken": "{}"}}"#
        "clone it with {}"
        "gl = gitlab.Gitlab('https://gitlab.acme.com', private_token='{}')"
    }
    "Google OAuth" "GOCSPX-<url>{28}" {
        "GOOGLE_CLIENT_SECRET={}"
        r#"{"web": {"client_id": "1.apps.googleusercontent.com", "client_secret": "{}"}}"#
        "Google gave us {} as the secret"
        "new OAuth2Client(clientId, '{}', redirect)"
    }
    "Grafana" "glsa_<b62>{32}_<hex>{8}" {
        "GRAFANA_TOKEN={}"
        r#"{"grafana": {"url": "https://grafana.acme.com", "auth": "{}"}}"#
        "dashboards can be read with {}"
        "grafana = GrafanaApi.from_url(url, credential='{}')"
    }
    "Hetzner" "<b62>{64}" {
        "HCLOUD_TOKEN={}"
        r#"{"hetzner": {"token": "{}"}}"#
        "hcloud token is {}"
        "client = Client(token=\"{}\")"
    }
    "Honeycomb" "<b62>{22}" {
        "HONEYCOMB_API_KEY={}"
        r#"{"honeycomb": {"dataset": "web", "writeKey": "{}"}}"#
        "Honeycomb API key: {}"
        "headers: { 'x-honeycomb-team': '{}' },"
    }
    "HubSpot" "pat-na1-<uuid>" {
        "HUBSPOT_ACCESS_TOKEN={}"
        r#"{"hubspot": {"accessToken": "{}"}}"#
        "HubSpot private app: {}"
        "const hubspot = new Client({ accessToken: '{}' })"
    }
    "Linode" "<hex>{64}" {
        "LINODE_TOKEN={}"
        r#"{"linode": {"token": "{}"}}"#
        "The Linode token is {}"
        "client = LinodeClient('{}')"
    }
    "Mailchimp" "<hex>{32}-us<num>{2}" {
        "MAILCHIMP_API_KEY={}"
        r#"{"mailchimp": {"apiKey": "{}", "server": "us21"}}"#
        "Mailchimp: {}"
        "mailchimp.setConfig({ apiKey: '{}', server: 'us21' });"
    }
    "Mixpanel" "<hex>{32}" {
        "MIXPANEL_API_SECRET={}"
        r#"{"mixpanel": {"api_secret": "{}"}}"#
        "the API secret for Mixpanel is {}"
        "curl https://data.mixpanel.com/api/2.0/export -u {}:"
    }
    "MongoDB Atlas" "<uuid>" {
        "MONGODB_ATLAS_PRIVATE_KEY={}"
        r#"{"atlas": {"public_key": "qhwpkzge", "private_key": "{}"}}"#
        "MongoDB Atlas private key: {}"
        "provider \"mongodbatlas\" {\n  public_key  = \"qhwpkzge\"\n  private_key = \"{}\"\n}"
    }
    "New Relic" "<hex>{36}NRAL" {
        "NEW_RELIC_LICENSE_KEY={}"
        r#"{"newrelic": {"license_key": "{}"}}"#
        "New Relic's license key is {}"
        "exports.config = { app_name: ['web'], license_key: '{}' }"
    }
    "Okta" "00<url>{40}" {
        "OKTA_API_TOKEN={}"
        r#"{"okta": {"orgUrl": "https://acme.okta.com", "token": "{}"}}"#
        "the Okta API token {} expires in 30 days"
        "curl -H 'Authorization: SSWS {}' https://acme.okta.com/api/v1/users"
    }
    "PagerDuty" "u\\+<b62>{18}" {
        "PAGERDUTY_TOKEN={}"
        r#"{"pagerduty": {"apiToken": "{}"}}"#
        "PagerDuty API token: {}"
        "headers = {'Authorization': 'Token token={}'}"
    }
    "PayPal" "E<url>{79}" {
        "PAYPAL_CLIENT_SECRET={}"
        r#"{"paypal": {"mode": "live", "client_id": "AbC", "client_secret": "{}"}}"#
        "PayPal secret: {}"
        "paypal.configure({ mode: 'live', client_secret: '{}' });"
    }
    "Plaid" "<hex>{30}" {
        "PLAID_SECRET={}"
        r#"{"plaid": {"clientId": "5f1", "secret": "{}"}}"#
        "Plaid's production secret is {}"
        "headers: { 'PLAID-SECRET': '{}' }"
    }
    "Postmark" "<uuid>" {
        "POSTMARK_SERVER_TOKEN={}"
        r#"{"postmark": {"serverToken": "{}"}}"#
        "Postmark server token: {}"
        "const client = new postmark.ServerClient('{}');"
    }
    "Pusher" "<hex>{20}" {
        "PUSHER_APP_SECRET={}"
        r#"{"pusher": {"appId": "1274", "key": "k", "secret": "{}", "cluster": "eu"}}"#
        "the pusher secret is {}"
        "pusher_client = pusher.Pusher(app_id='1274', key=key, secret='{}')"
    }
    "RapidAPI" "<hex>{10}msh<hex>{15}p1<hex>{5}jsn<hex>{12}" {
        "RAPIDAPI_KEY={}"
        r#"{"rapidapi": {"key": "{}"}}"#
        "RapidAPI key {}"
        "'X-RapidAPI-Key': '{}'"
    }
    "Rollbar" "<hex>{32}" {
        "ROLLBAR_ACCESS_TOKEN={}"
        r#"{"rollbar": {"accessToken": "{}"}}"#
        "Rollbar's post_server_item token: {}"
        "rollbar.init('{}', 'production')"
    }
    "Scaleway" "<uuid>" {
        "SCW_SECRET_KEY={}"
        r#"{"scaleway": {"access_key": "SCWXXXXXXXXXXXXXXXXX", "secret_key": "{}"}}"#
        "The Scaleway secret key is {}"
        "scw init secret-key={} organization-id=default"
    }
    "Segment" "<b62>{32}" {
        "SEGMENT_WRITE_KEY={}"
        r#"{"segment": {"writeKey": "{}"}}"#
        "segment write key: {}"
        "const analytics = new Analytics({ writeKey: '{}' })"
    }
    "Snyk" "<uuid>" {
        "SNYK_TOKEN={}"
        r#"{"snyk": {"api": "{}"}}"#
        "log in to Snyk with the token {}"
        "snyk auth {}"
    }
    "SonarQube" "squ_<hex>{40}" {
        "SONAR_TOKEN={}"
        r#"{"sonar": {"login": "{}"}}"#
        "sonar wants {}"
        "mvn sonar:sonar -Dsonar.login={}"
    }
    "Sumo Logic" "<b62>{64}" {
        "SUMO_LOGIC_ACCESS_KEY={}"
        r#"{"sumologic": {"accessId": "suA1b2C3d4E5f6", "accessKey": "{}"}}"#
        "Sumo Logic access key: {}"
        "curl -u \"suA1b2C3d4E5f6:{}\" https://api.sumologic.com/api/v1/collectors"
    }
    "Telegram" "<num>{10}:AA<url>{33}" {
        "TELEGRAM_BOT_TOKEN={}"
        r#"{"telegram": {"bot": "{}"}}"#
        "BotFather says: {}"
        "requests.get('https://api.telegram.org/bot{}/getMe')"
    }
    "Trello" "ATTA<hex>{72}" {
        "TRELLO_TOKEN={}"
        r#"{"trello": {"key": "k", "token": "{}"}}"#
        "the board can be read with {}"
        "https://api.trello.com/1/members/me/boards?key=k&token={}"
    }
    "Twilio" "<hex>{32}" {
        "TWILIO_AUTH_TOKEN={}"
        r#"{"twilio": {"accountSid": "AC1", "authToken": "{}"}}"#
        "Twilio auth token {}"
        "const client = require('twilio')(accountSid, '{}');"
    }
    "Twitch" "<low>{30}" {
        "TWITCH_CLIENT_SECRET={}"
        r#"{"twitch": {"client_id": "k", "client_secret": "{}"}}"#
        "our Twitch client secret is {}"
        "curl -d 'client_id=k&client_secret={}&grant_type=client_credentials' https://id.twitch.tv/oauth2/token"
    }
    "Vercel" "<b62>{24}" {
        "VERCEL_TOKEN={}"
        r#"{"vercel": {"token": "{}"}}"#
        "deploy with the Vercel token {}"
        "vercel deploy --prod --token {}"
    }
    "Vonage" "<b62>{16}" {
        "VONAGE_API_SECRET={}"
        r#"{"vonage": {"api_key": "a1b2c3d4", "api_secret": "{}"}}"#
        "Vonage api secret is {}"
        "client = vonage.Client(key=key, secret='{}')"
    }
    "Zendesk" "<b62>{40}" {
        "ZENDESK_API_TOKEN={}"
        r#"{"zendesk": {"subdomain": "acme", "token": "{}"}}"#
        "Zendesk API token is {}"
        "curl -u ann@acme.com/token:{} https://acme.zendesk.com/api/v2/tickets.json"
    }
    "Zoom" "<b62>{32}" {
        "ZOOM_CLIENT_SECRET={}"
        r#"{"zoom": {"accountId": "a", "clientId": "c", "clientSecret": "{}"}}"#
        "The Zoom client secret: {}"
        "auth = base64.b64encode(f\"{client_id}:{}\".encode())"
    }
};

#[test]
fn credentials_of_vendors_are_found_where_their_documentation_puts_them() {
    let scanner = Scanner::new(&Options::default());
    let (mut found, mut all) = (0, 0);
    let mut missed: BTreeMap<String, usize> = BTreeMap::new();
    for (index, vendor) in VENDORS.iter().enumerate() {
        let pattern = Pattern::parse(vendor.credential).unwrap_or_else(|error| panic!("{}: {error}", vendor.name));
        for time in 0..TIMES {
            let mut chooser = Chooser::new(7_000 + index as u64 * 100 + time);
            let credential = pattern.sample(|below| chooser.below(below));
            let ways = [("env", vendor.env), ("json", vendor.json), ("prose", vendor.prose), ("code", vendor.code)];
            for (way, text) in ways {
                let text = text.replace("{}", &credential);
                for body in [text.clone(), serde_json::json!({"messages": [{"content": text}]}).to_string()] {
                    all += 1;
                    let matches = scanner.scan(body.as_bytes());
                    let covers = |value: &str| value.contains(&credential) || credential.strip_suffix(value).is_some();
                    if matches.iter().any(|found| found.rule.acts && covers(found.value.expose())) {
                        found += 1;
                    } else {
                        *missed.entry(format!("{} {way}", vendor.name)).or_default() += 1;
                    }
                }
            }
        }
    }
    assert!(VENDORS.len() >= 60);
    let told: Vec<String> = missed.iter().map(|(what, times)| format!("{times:>3} {what}")).collect();
    println!("{found} of {all}\n{}", told.join("\n"));
    assert!(found * 100 >= all * LEAST, "{found} of {all}\n{}", told.join("\n"));
}

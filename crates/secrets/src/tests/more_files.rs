//! More of the files in which credentials lie around, of other programs than those in [`files`](super::files).

use super::files::check;

/// What of a file is a credential stands for itself: `${p}` a password, `${s}` a secret of 40 characters, `${h}` one in 32
/// hexadecimal digits.
const FILES: [(&str, &str); 46] = [
    ("Vagrantfile", "config.ssh.password = \"${p}\"\nconfig.vm.provision \"shell\", env: {\"DB_PASS\" => \"${p}\"}\n"),
    (
        "group_vars/all.yml",
        "ansible_user: deploy\nansible_password: ${p}\nansible_become_pass: '${p}'\nvault_db_password: \"${p}\"\n",
    ),
    ("inventory.ini", "[web]\nweb1 ansible_host=10.1.2.3 ansible_user=root ansible_ssh_pass=${p}\n"),
    (
        "values.yaml",
        "postgresql:\n  auth:\n    username: app\n    password: ${p}\n    postgresPassword: ${p}\ningress:\n  enabled: true\n",
    ),
    (
        "Jenkinsfile",
        "environment {\n  SONAR_TOKEN = '${h}'\n  REGISTRY_PASSWORD = '${p}'\n}\nsh \"docker login -u ci -p ${p} registry.acme.com\"\n",
    ),
    (".github/workflows/deploy.yml", "env:\n  NODE_ENV: production\n  DEPLOY_KEY: ${s}\n  DB_PASSWORD: ${p}\n"),
    (".gitlab-ci.yml", "variables:\n  POSTGRES_PASSWORD: ${p}\n  API_TOKEN: \"${s}\"\n"),
    (
        "prometheus.yml",
        "scrape_configs:\n- job_name: app\n  basic_auth:\n    username: prom\n    password: ${p}\n- job_name: other\n  authorization:\n    credentials: ${s}\n",
    ),
    (
        "alertmanager.yml",
        "global:\n  smtp_auth_username: alerts\n  smtp_auth_password: '${p}'\n  opsgenie_api_key: ${s}\n",
    ),
    (
        "grafana.ini",
        "[security]\nadmin_user = admin\nadmin_password = ${p}\nsecret_key = ${s}\n[smtp]\npassword = \"\"\"${p}\"\"\"\n",
    ),
    (
        "airflow.cfg",
        "fernet_key = ${s}=\nsecret_key = ${h}\nsql_alchemy_conn = postgresql+psycopg2://airflow:${p}@pg.acme.com/airflow\n",
    ),
    ("profiles.yml", "acme:\n  outputs:\n    prod:\n      type: snowflake\n      user: DBT\n      password: ${p}\n"),
    ("rclone.conf", "[s3]\ntype = s3\naccess_key_id = AKIAIOSFODNN7EXAMPLE\nsecret_access_key = ${s}\n"),
    (".s3cfg", "[default]\naccess_key = AKIAIOSFODNN7EXAMPLE\nsecret_key = ${s}\n"),
    (
        "gradle.properties",
        "RELEASE_STORE_PASSWORD=${p}\nRELEASE_KEY_PASSWORD=${p}\nsonatypePassword=${p}\nsigning.password=${p}\n",
    ),
    ("build.gradle", "signingConfigs {\n  release {\n    storePassword '${p}'\n    keyPassword \"${p}\"\n  }\n}\n"),
    (
        "nuget.config",
        "<packageSourceCredentials>\n  <Acme>\n    <add key=\"Username\" value=\"ci\" />\n    <add key=\"ClearTextPassword\" value=\"${p}\" />\n  </Acme>\n</packageSourceCredentials>\n",
    ),
    (".msmtprc", "account default\nhost smtp.acme.com\nuser alerts@acme.com\npassword ${p}\n"),
    ("sasl_passwd", "[smtp.acme.com]:587 alerts@acme.com:${p}\n"),
    (".pgpass", "db.acme.com:5432:shop:app:${p}\n"),
    (".my.cnf", "[client]\nuser=root\npassword=${p}\n"),
    ("odbc.ini", "[Shop]\nDriver=PostgreSQL\nServername=db.acme.com\nUserName=app\nPassword=${p}\n"),
    ("clients.conf", "client wifi {\n  ipaddr = 10.0.0.0/8\n  secret = ${p}\n}\n"),
    ("wpa_supplicant.conf", "network={\n  ssid=\"acme\"\n  psk=\"${p}\"\n}\n"),
    ("chap-secrets", "# client server secret ip\nann * ${p} *\n"),
    (
        "terraform.tfstate",
        "{\"resources\": [{\"type\": \"aws_db_instance\", \"instances\": [{\"attributes\": {\"username\": \"app\", \"password\": \"${p}\"}}]}]}",
    ),
    ("cloud-init.yaml", "chpasswd:\n  list: |\n    root:${p}\nwrite_files:\n- content: |\n    DB_PASSWORD=${p}\n"),
    (
        "app.service",
        "[Service]\nEnvironment=\"DATABASE_PASSWORD=${p}\"\nEnvironment=API_TOKEN=${s}\nExecStart=/usr/bin/app\n",
    ),
    (
        "parameters.yml",
        "parameters:\n  database_user: app\n  database_password: ${p}\n  mailer_password: '${p}'\n  secret: ${h}\n",
    ),
    (".env.laravel", "APP_KEY=base64:${s}abc=\nDB_PASSWORD=${p}\nPUSHER_APP_SECRET=${h}\n"),
    (
        "config.exs",
        "config :app, App.Repo,\n  username: \"app\",\n  password: \"${p}\"\nconfig :app, AppWeb.Endpoint, secret_key_base: \"${s}${s}\"\n",
    ),
    (
        "application.conf",
        "db.default.username = app\ndb.default.password = \"${p}\"\nplay.http.secret.key = \"${s}\"\n",
    ),
    (
        "Info.plist",
        "<dict>\n  <key>APIKey</key>\n  <string>${s}</string>\n  <key>Password</key>\n  <string>${p}</string>\n</dict>\n",
    ),
    (
        "strings.xml",
        "<resources>\n  <string name=\"app_name\">Shop</string>\n  <string name=\"api_secret\">${s}</string>\n</resources>\n",
    ),
    (
        "secrets.json",
        "{\n  \"Smtp:Password\": \"${p}\",\n  \"Jwt\": {\n    \"Issuer\": \"acme\",\n    \"Key\": \"${s}\"\n  }\n}\n",
    ),
    (
        "local.settings.json",
        "{\"Values\": {\"ServiceBusConnection\": \"Endpoint=sb://acme.servicebus.windows.net/;SharedAccessKeyName=Root;SharedAccessKey=${s}abc=\"}}",
    ),
    (
        ".bash_history",
        "cd app\nexport STRIPE_KEY=${s}\npsql postgresql://app:${p}@db.acme.com/shop\ncurl -H \"X-Api-Key: ${h}\" https://api.acme.com\nsudo mount -t cifs -o username=ann,password=${p} //nas/share /mnt\n",
    ),
    (
        "collection.json",
        "{\"auth\": {\"type\": \"basic\", \"basic\": [{\"key\": \"password\", \"value\": \"${p}\"}, {\"key\": \"username\", \"value\": \"ann\"}]}}",
    ),
    (
        "session.har",
        "{\"request\": {\"headers\": [{\"name\": \"Authorization\", \"value\": \"Bearer ${s}\"}, {\"name\": \"X-Api-Key\", \"value\": \"${h}\"}]}}",
    ),
    (
        "notebook.ipynb",
        "{\"cells\": [{\"source\": [\"api_key = '${s}'\\n\", \"conn = connect(user='app', password='${p}')\\n\"]}]}",
    ),
    (
        "app.log",
        "2026-11-27 12:00:01 DEBUG config: {db_password=${p}, api_token=${s}}\n2026-11-27 12:00:02 DEBUG > X-Auth-Token: ${h}\n",
    ),
    (
        "export.txt",
        "ann: the db password is ${p}\nbob: thanks. and for prod?\nann: password for prod: ${p}\nbob: use token ${s} to log in\n",
    ),
    (
        "deploy.bat",
        "set DB_PASSWORD=${p}\nnet use \\\\nas\\share /user:acme\\ann ${p}\nsqlplus app/${p}@db.acme.com:1521/shop\nsqlcmd -S db -U sa -P ${p}\n",
    ),
    (
        "logstash.conf",
        "output {\n  elasticsearch {\n    hosts => [\"https://es.acme.com\"]\n    user => \"elastic\"\n    password => \"${p}\"\n  }\n}\n",
    ),
    ("ejabberd.yml", "sql_username: \"ejabberd\"\nsql_password: \"${p}\"\n"),
    ("context.xml", "<Resource name=\"jdbc/shop\" username=\"app\" password=\"${p}\" url=\"jdbc:mysql://db/shop\"/>\n"),
];

#[test]
fn credentials_are_found_in_the_files_of_other_programs_too() {
    check(&FILES, 85);
}

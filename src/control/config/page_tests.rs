//! Every YAML block of the page that users of the first Odin know loads as it stands there.
//!
//! Blocks that begin at `plugins:` stand under `wasm:`. Blocks that leave out `path` show only the
//! keys that they are about, and get one. Blocks of other programs (Kubernetes) are not here.

use super::*;

/// The blocks in the order of the page, letter by letter.
const BLOCKS: &[(&str, &str)] = &[
    (
        "basic configuration",
        r#"wasm:
  enabled: true
  pluginDir: /etc/odin/plugins      # Directory containing WASM files
  maxMemoryPages: 100                # Max memory per plugin (100 * 64KB = 6.4MB)
  maxInstances: 10                   # Max concurrent plugin instances
  cacheEnabled: true                 # Cache compiled modules
  
  plugins:
    - name: my-plugin
      path: plugin.wasm               # Relative to pluginDir or absolute
      type: request
      enabled: true
      priority: 10                    # Lower runs first
      timeout: 5s
      allowedUrls:                    # URL patterns (regex)
        - /api/.*
      services:                       # Service names
        - users-service
      config:                         # Plugin-specific configuration
        key: value
"#,
    ),
    ("complete example", include_str!("../../../tests/gateway/page/complete.yaml")),
    (
        "custom authentication",
        r#"plugins:
  - name: api-key-auth
    path: auth-apikey.wasm
    type: auth
    priority: 1
    config:
      headerName: X-API-Key
      validKeys:
        - key1
        - key2
"#,
    ),
    (
        "request validation",
        r#"plugins:
  - name: schema-validator
    path: validator.wasm
    type: request
    priority: 3
    services:
      - users-service
    config:
      schemaPath: /etc/odin/schemas/user.json
      strict: true
"#,
    ),
    (
        "response caching",
        r#"plugins:
  - name: cache-plugin
    path: cache.wasm
    type: response
    priority: 10
    allowedUrls:
      - /api/products.*
    config:
      ttl: 300
      backend: redis
"#,
    ),
    (
        "data enrichment",
        r#"plugins:
  - name: enrich-response
    path: enrichment.wasm
    type: response
    priority: 8
    config:
      addUserDetails: true
      userServiceUrl: http://users-service:8080
"#,
    ),
    (
        "advanced rate limiting",
        r#"plugins:
  - name: intelligent-ratelimit
    path: ratelimit-advanced.wasm
    type: ratelimit
    priority: 2
    config:
      algorithm: sliding-window
      redis:
        host: redis:6379
      limits:
        anonymous: 10
        authenticated: 100
        premium: 1000
"#,
    ),
    (
        "execution timeout",
        r#"plugins:
  - name: my-plugin
    timeout: 5s  # Kill plugin if execution exceeds 5 seconds
"#,
    ),
    (
        "instance pooling",
        r#"wasm:
  maxInstances: 50  # Max concurrent plugin executions
"#,
    ),
    (
        "compilation caching",
        r#"wasm:
  cacheEnabled: true  # Cache compiled modules for faster startup
"#,
    ),
    (
        "resource limits",
        r#"wasm:
  maxMemoryPages: 100      # Limit memory usage
  maxInstances: 50         # Limit concurrent executions
  timeout: 5s              # Per-execution timeout
"#,
    ),
    (
        "logging",
        r#"logging:
  level: debug  # Enable plugin debug logs
"#,
    ),
    (
        "memory exceeded",
        r#"wasm:
  maxMemoryPages: 200  # Increase memory limit
"#,
    ),
    (
        "debug mode",
        r#"wasm:
  enabled: true
  plugins:
    - name: debug-plugin
      path: plugin.wasm
      config:
        debug: true
        logLevel: trace
"#,
    ),
    (
        "environment variables",
        r#"plugins:
  - name: my-plugin
    config:
      # Use environment variables
      apiKey: ${API_KEY}
      # Use reasonable defaults
      timeout: 5s
      retries: 3
"#,
    ),
    (
        "versioning",
        r#"plugins:
  - name: my-plugin-v1
    path: my-plugin-v1.0.0.wasm
"#,
    ),
];

fn block(name: &str) -> Config {
    let text = BLOCKS.iter().find(|(title, _)| *title == name).unwrap().1;
    load_block(text).unwrap_or_else(|errors| panic!("{name}:\n{errors}"))
}

fn load_block(text: &str) -> Result<Config, ConfigErrors> {
    let has_path = text.contains("path: ");
    let mut whole = String::new();
    let is_fragment = text.starts_with("plugins:");
    if is_fragment {
        whole.push_str("wasm:\n");
    }
    for line in text.lines() {
        let indent = if is_fragment { "  " } else { "" };
        whole.push_str(&format!("{indent}{line}\n"));
        if line.contains("- name:") && !has_path {
            whole.push_str(&format!("{indent}    path: plugin.wasm\n"));
        }
    }
    let env = |name: &str| (name == "API_KEY").then(|| "k3y: [#]".to_owned());
    parse(&whole, "page.yaml", &env)
}

#[test]
fn every_block_loads() {
    for (name, _) in BLOCKS {
        block(name);
    }
}

#[test]
fn basic_configuration_means_what_its_comments_say() {
    let wasm = block("basic configuration").wasm;
    assert!(wasm.enabled && wasm.cache_enabled);
    assert_eq!((wasm.max_memory_pages, wasm.max_instances), (100, 10));
    let plugin = &wasm.plugins[0];
    assert_eq!(plugin.name, "my-plugin");
    assert_eq!(wasm.file_of(plugin), Path::new("/etc/odin/plugins/plugin.wasm"));
    assert_eq!(plugin.kind, PluginType::Request);
    assert_eq!((plugin.enabled, plugin.priority), (true, 10));
    assert_eq!(plugin.timeout, Some(std::time::Duration::from_secs(5)));
    assert_eq!(plugin.allowed_urls[0].source, "/api/.*");
    assert_eq!(plugin.services, ["users-service"]);
    assert_eq!(plugin.config, serde_json::json!({"key": "value"}));
}

#[test]
fn complete_example_keeps_its_plugins_in_order_with_their_own_config() {
    let wasm = block("complete example").wasm;
    let kinds: Vec<_> = wasm.plugins.iter().map(|plugin| (plugin.kind, plugin.priority)).collect();
    let (auth, limit, request) = (PluginType::Auth, PluginType::RateLimit, PluginType::Request);
    assert_eq!(kinds, [(auth, 1), (limit, 2), (request, 5)]);
    assert_eq!(wasm.plugins[1].config, serde_json::json!({"limit": 100, "window": "60s"}));
    assert_eq!(
        wasm.plugins[2].config,
        serde_json::json!({"addHeaders": {"X-Gateway": "Odin", "X-Version": "v1"}})
    );
}

#[test]
fn use_cases_hand_their_config_to_the_plugin_as_typed_json() {
    assert_eq!(
        block("advanced rate limiting").wasm.plugins[0].config,
        serde_json::json!({
            "algorithm": "sliding-window",
            "redis": {"host": "redis:6379"},
            "limits": {"anonymous": 10, "authenticated": 100, "premium": 1000},
        })
    );
    assert_eq!(
        block("request validation").wasm.plugins[0].config,
        serde_json::json!({"schemaPath": "/etc/odin/schemas/user.json", "strict": true})
    );
}

#[test]
fn a_plugin_with_nothing_but_name_and_path_is_middleware_at_priority_100() {
    let wasm = block("versioning").wasm;
    let plugin = &wasm.plugins[0];
    assert_eq!((plugin.kind, plugin.priority), (PluginType::Middleware, 100));
    assert_eq!((plugin.enabled, plugin.timeout), (true, None));
    assert_eq!(plugin.config, serde_json::json!({}));
}

#[test]
fn resource_limits_logging_and_environment_variables_are_taken_over() {
    let wasm = block("resource limits").wasm;
    assert_eq!((wasm.max_memory_pages, wasm.max_instances), (100, 50));
    assert_eq!(wasm.timeout, std::time::Duration::from_secs(5));
    assert_eq!(block("logging").logging.level, Level::Debug);
    assert_eq!(
        block("environment variables").wasm.plugins[0].config,
        serde_json::json!({"apiKey": "k3y: [#]", "timeout": "5s", "retries": 3})
    );
}

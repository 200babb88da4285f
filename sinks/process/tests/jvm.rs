//! Functions in Java and Clojure, with the real JDK and the real Clojure.

mod stage;

use std::time::Duration;

use dispatch_contract::{Faas, FaasError, FunctionErrorKind, InvocationError, InvocationResult};
use serde_json::json;
use stage::{Stage, error, invocation, is_here, within};

const HELLO: &str = r#"
package io.dispatchframework.examples;

import java.util.Map;
import java.util.function.BiFunction;

public class Hello implements BiFunction<Map<String, Object>, Map<String, Object>, String> {
    public String apply(Map<String, Object> context, Map<String, Object> payload) {
        return String.format("Hello, %s from %s", payload.getOrDefault("name", "Someone"), payload.getOrDefault("place", "Somewhere"));
    }
}
"#;

/// Payload and result as inner classes, a list of them, an enum, a record: whatever a function may ask for.
const CLASSES: &str = r#"
import java.util.*;
import java.util.function.BiFunction;

abstract class Base<P> implements BiFunction<Map<String, Object>, P, Object> {}

public class Classes extends Base<Classes.Payload> {
    enum Power { ON, OFF }
    record Disk(String name, long size, Optional<String> label) {}
    public class Payload {
        private String name;
        private int cores = 1;
        private List<Disk> disks;
        Power power;
        double[] loads;
        private transient String secret = "never written";
        public String getName() { return name; }
    }
    public Object apply(Map<String, Object> context, Payload payload) {
        System.out.println("out " + payload.getName());
        System.err.println("err " + payload.getName());
        if (payload.cores == 13) throw new IllegalArgumentException("no 13 cores");
        if (payload.cores == 14) throw new IllegalStateException("state", new RuntimeException("below"));
        if (payload.cores == 15) throw new StackOverflowError();
        if (payload.cores == 16) System.exit(3);
        if (payload.cores == 17) return Double.NaN;
        if (payload.cores == 18) { Object[] self = new Object[1]; self[0] = self; return self; }
        if (payload.cores == 19) while (true) ;
        return payload;
    }
}
"#;

#[tokio::test]
async fn a_java_function_is_compiled_and_answers() {
    let stage = Stage::new();
    if !is_here(&stage, "java").await {
        return;
    }
    let class = "io.dispatchframework.examples.Hello";
    let other = HELLO.replace("Hello", "Bye");
    let path = "src/main/java/io/dispatchframework/examples/Hello.java";
    let files = [(path, HELLO), ("Bye.java", other.as_str())];

    // Several handlers in a folder, and one file without a handler.
    for (files, handler, greeting) in [
        (&files[..], class, "Hello"),
        (&files[..], "io.dispatchframework.examples.Bye", "Bye"),
        (&files[..1], "", "Hello"),
    ] {
        let revision = stage.deploy("java", files, handler).await.unwrap();
        let output = stage
            .output(revision, json!({"name": "Jon", "place": "Wörld"}))
            .await;
        assert_eq!(
            output,
            json!(format!("{greeting}, Jon from Wörld")),
            "{handler:?}"
        );
        stage.engine.remove(revision).await.unwrap();
    }
}

#[tokio::test]
async fn a_java_function_gets_what_its_types_say_and_its_errors_say_whose_fault_they_are() {
    let stage = Stage::with(|s| s.max_workers = 1);
    if !is_here(&stage, "java").await {
        return;
    }
    let revision = stage
        .deploy("java", &[("Classes.java", CLASSES)], "Classes")
        .await
        .unwrap();
    let vm = json!({
        "name": "web-1", "cores": 4, "power": "ON", "loads": [0.5, 1.0],
        "disks": [{"name": "root", "size": 9_007_199_254_740_993_i64, "label": "🔑"}, {"name": "swap", "size": 1}],
    });
    let answered = stage.call(revision, vm.clone()).await;
    assert_eq!(
        (answered.logs.stdout, answered.logs.stderr),
        (vec!["out web-1".to_owned()], vec!["err web-1".to_owned()])
    );
    let mut wanted = vm.clone();
    wanted["disks"][1]["label"] = json!(null);
    let got: serde_json::Value = serde_json::from_slice(&answered.result.unwrap()).unwrap();
    let mut got = got;
    if got["disks"][1].get("label").is_none() {
        got["disks"][1]["label"] = json!(null);
    }
    assert_eq!(got, wanted);

    use FunctionErrorKind::{Function, Input, System};
    let table = [
        (
            json!({"cores": "many"}),
            Input,
            "payload.cores: a string is no int",
        ),
        (json!({"cores": 1.5}), Input, "payload.cores: 1.5 is no int"),
        (
            json!({"disks": [{"size": []}]}),
            Input,
            "payload.disks[0].size: a list is no long",
        ),
        (
            json!({"power": "MAYBE"}),
            Input,
            "payload.power: a string is no Power",
        ),
        (json!([]), Input, "payload: a list is no Payload"),
        (json!({"cores": 13}), Input, "no 13 cores"),
        (json!({"cores": 14}), Function, "state"),
        (json!({"cores": 15}), Function, "StackOverflowError"),
        (json!({"cores": 16}), System, "exit status: 3"),
        (json!({"cores": 17}), Function, "cannot be written as JSON: NaN"),
        (json!({"cores": 18}), Function, "contains itself"),
    ];
    for (payload, kind, message) in table {
        let error = error(stage.call(revision, payload.clone()).await);
        assert_eq!(error.kind, kind, "{payload}: {error}");
        assert!(error.message.contains(message), "{payload}: {error}");
    }
    let trace = error(stage.call(revision, json!({"cores": 14})).await).stacktrace;
    assert_eq!(trace[0], "java.lang.IllegalStateException: state");
    assert!(trace[1].contains("Classes.java:"), "{trace:?}");
    assert!(
        trace
            .iter()
            .any(|l| l == "Caused by: java.lang.RuntimeException: below"),
        "{trace:?}"
    );
    assert!(!trace.join("\n").contains("dispatch.worker"), "{trace:?}");

    let late = stage
        .call_within(revision, json!({"cores": 19}), Duration::from_millis(500))
        .await;
    assert!(matches!(late.result, Err(InvocationError::Timeout)));
    assert_eq!(stage.output(revision, json!({})).await, json!({"cores": 1}));
}

#[tokio::test]
async fn what_java_cannot_run_says_why_at_deploy() {
    let stage = Stage::new();
    if !is_here(&stage, "java").await {
        return;
    }
    let table = [
        (
            "Hello.java",
            HELLO,
            "io.dispatchframework.examples.Nothing",
            "there is no class",
        ),
        ("Hello.java", HELLO, "Hello", "there is no class Hello"),
        ("Hello.java", HELLO, "../Hello", "is no name of a class"),
        (
            "A.java",
            "public class A {",
            "A",
            "A.java:1: error: reached end of file",
        ),
        (
            "A.java",
            "public class A {}",
            "A",
            "neither a java.util.function.BiFunction nor a Spring",
        ),
        (
            "A.java",
            "public class A implements java.util.function.BiFunction<Object, Object, Object> { A(int n) {} public Object apply(Object c, Object p) { return p; } }",
            "A",
            "has no constructor without parameters",
        ),
        ("Hello.txt", HELLO, "", "the only file has no class"),
    ];
    for (file, text, handler, wanted) in table {
        let Err(FaasError::Invalid(reason)) = stage.deploy("java", &[(file, text)], handler).await else {
            panic!("{handler:?} was deployed");
        };
        assert!(reason.starts_with("Invalid function file or handler"), "{reason}");
        assert!(reason.contains(wanted), "{handler:?}: {reason}");
        assert!(!reason.contains("revisions"), "a path of this machine: {reason}");
    }
}

#[tokio::test]
async fn a_clojure_function_gets_keywords_and_answers() {
    let stage = Stage::with(|s| s.max_workers = 1);
    if !is_here(&stage, "clojure").await {
        return;
    }
    let source = r#"
(ns my-app.hello (:require [clojure.string :as string] [my-app.other :as other]))
(defn handle [context payload]
  (println "out" (:name payload))
  (binding [*out* *err*] (println "err"))
  (case (:name payload)
    "bad" (throw (IllegalArgumentException. "bad name"))
    "boom" (throw (ex-info "boom" {:a 1}))
    {:myField (str "Hello, " (string/upper-case (:name payload "noone")) (other/mark))
     :secret (get-in context [:secrets :password])
     :list (map inc (:list payload)) :set #{:a} :ratio 1/2 :none nil}))
(defn- hidden [c p] p)
(def second-handler (fn [_ payload] (get payload :x)))
"#;
    let files = [
        ("my_app/hello.clj", source),
        ("my_app/other.clj", "(ns my-app.other) (defn mark [] \"!\")"),
    ];
    let revision = stage
        .deploy("clojure", &files, "my-app.hello/handle")
        .await
        .unwrap();
    let mut call = invocation(
        revision,
        json!({"name": "jon", "list": [1, 2]}),
        Some(Duration::from_secs(20)),
    );
    call.secrets.insert("password".into(), "OpenSesame".into());

    let InvocationResult { result, logs } = within(30, stage.engine.invoke(call)).await;

    let output: serde_json::Value = serde_json::from_slice(&result.unwrap()).unwrap();
    assert_eq!(
        output,
        json!({"myField": "Hello, JON!", "secret": "OpenSesame", "list": [2, 3], "set": ["a"], "ratio": 0.5, "none": null})
    );
    assert_eq!(
        (logs.stdout, logs.stderr),
        (vec!["out jon".to_owned()], vec!["err".to_owned()])
    );
    for (name, kind) in [
        ("bad", FunctionErrorKind::Input),
        ("boom", FunctionErrorKind::Function),
    ] {
        let error = error(stage.call(revision, json!({"name": name})).await);
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.message.contains(name), "{error}");
        assert!(
            error.stacktrace.iter().any(|l| l.contains("hello.clj:")),
            "{:?}",
            error.stacktrace
        );
    }
    let second = stage
        .deploy("clojure", &files, "my-app.hello/second-handler")
        .await
        .unwrap();
    assert_eq!(stage.output(second, json!({"x": [1.5]})).await, json!([1.5]));
    let single = [("any_name.clj", "(ns some.where)\n(defn function [c p] (count p))")];
    let single = stage.deploy("clojure", &single, "").await.unwrap();
    assert_eq!(stage.output(single, json!([1, 2, 3])).await, json!(3));
}

#[tokio::test]
async fn what_clojure_cannot_run_says_why_at_deploy() {
    let stage = Stage::new();
    if !is_here(&stage, "clojure").await {
        return;
    }
    let fine = "(ns a) (defn handle [c p] p) (defn- hidden [c p] p) (def number 3)";
    let table = [
        (fine, "b/handle", "Could not locate b__init.class"),
        (fine, "a/nothing", "namespace a has no function nothing"),
        (fine, "a/hidden", "namespace a has no function hidden"),
        (fine, "a/number", "namespace a has no function number"),
        (fine, "handle", "is not of the form namespace/function"),
        (
            "(ns a) (defn handle [c p] (unknown))",
            "a/handle",
            "Unable to resolve symbol: unknown",
        ),
        ("(ns a", "", "EOF while reading"),
        (
            "(ns a) (defn other [c p] p)",
            "",
            "a.clj has neither handle nor function",
        ),
    ];
    for (text, handler, wanted) in table {
        let Err(FaasError::Invalid(reason)) = stage.deploy("clojure", &[("a.clj", text)], handler).await
        else {
            panic!("{handler:?} was deployed");
        };
        assert!(reason.starts_with("Invalid function file or handler"), "{reason}");
        assert!(reason.contains(wanted), "{handler:?}: {reason}");
    }
}

//! Kubernetes' Pod Security profile `restricted`, as its standard describes it, and what this project asks for besides.

use serde_json::Value;

/// The kinds of volumes that the profile allows.
const VOLUMES: [&str; 8] =
    ["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"];
/// The kernel settings that the profile allows.
const SYSCTLS: [&str; 10] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_syncookies",
];

/// The pod that an object makes, if it makes one.
pub(super) fn pod(object: &Value) -> Option<&Value> {
    match object["kind"].as_str()? {
        "Pod" => Some(&object["spec"]),
        "CronJob" => Some(&object["spec"]["jobTemplate"]["spec"]["template"]["spec"]),
        "DaemonSet" | "Deployment" | "Job" | "ReplicaSet" | "StatefulSet" => Some(&object["spec"]["template"]["spec"]),
        _ => None,
    }
}

/// What a pod does that it may not.
pub(super) fn judge(pod: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for field in ["hostNetwork", "hostPID", "hostIPC"] {
        if pod[field] == true {
            found.push(format!("`{field}` is on"));
        }
    }
    for (field, wanted) in [("automountServiceAccountToken", false), ("enableServiceLinks", false)] {
        if pod[field] != wanted {
            found.push(format!("`{field}` is not {wanted}"));
        }
    }
    for volume in list(&pod["volumes"]) {
        let kinds = volume.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).filter(|key| *key != "name");
        found.extend(kinds.filter(|kind| !VOLUMES.contains(kind)).map(|kind| format!("a volume is a `{kind}`")));
    }
    let whole = &pod["securityContext"];
    found.extend(context(whole).into_iter().map(|trouble| format!("pod: {trouble}")));
    for sysctl in list(&whole["sysctls"]) {
        let name = sysctl["name"].as_str().unwrap_or_default();
        if !SYSCTLS.contains(&name) {
            found.push(format!("the kernel setting `{name}` is not safe"));
        }
    }
    let containers = ["initContainers", "containers", "ephemeralContainers"].map(|field| list(&pod[field]));
    for container in containers.into_iter().flatten() {
        let name = container["name"].as_str().unwrap_or_default();
        found.extend(
            self::container(container, whole).into_iter().map(|trouble| format!("container `{name}`: {trouble}")),
        );
    }
    found
}

/// What may be in the security context of a pod as well as of a container.
fn context(context: &Value) -> Vec<String> {
    let mut found = Vec::new();
    if context["runAsUser"] == 0 {
        found.push("`runAsUser` is 0".to_owned());
    }
    if context["runAsNonRoot"] == false {
        found.push("`runAsNonRoot` is false".to_owned());
    }
    let seccomp = &context["seccompProfile"]["type"];
    if !seccomp.is_null() && seccomp != "RuntimeDefault" && seccomp != "Localhost" {
        found.push(format!("`seccompProfile` is {seccomp}"));
    }
    let armour = &context["appArmorProfile"]["type"];
    if !armour.is_null() && armour != "RuntimeDefault" && armour != "Localhost" {
        found.push(format!("`appArmorProfile` is {armour}"));
    }
    let linux = &context["seLinuxOptions"];
    let allowed = [Value::Null, "".into(), "container_t".into(), "container_init_t".into(), "container_kvm_t".into()];
    if !allowed.contains(&linux["type"]) || !linux["user"].is_null() || !linux["role"].is_null() {
        found.push(format!("`seLinuxOptions` is {linux}"));
    }
    if context["windowsOptions"]["hostProcess"] == true {
        found.push("`hostProcess` is on".to_owned());
    }
    found
}

fn container(container: &Value, pod: &Value) -> Vec<String> {
    let own = &container["securityContext"];
    let mut found = context(own);
    let mut need = |holds: bool, trouble: &str| {
        if !holds {
            found.push(trouble.to_owned());
        }
    };
    need(own["privileged"] != true, "it is privileged");
    need(own["allowPrivilegeEscalation"] == false, "`allowPrivilegeEscalation` is not false");
    need(own["readOnlyRootFilesystem"] == true, "`readOnlyRootFilesystem` is not true");
    need(
        own["runAsNonRoot"] == true || own["runAsNonRoot"].is_null() && pod["runAsNonRoot"] == true,
        "`runAsNonRoot` is not true",
    );
    let has_profile = !own["seccompProfile"]["type"].is_null() || !pod["seccompProfile"]["type"].is_null();
    need(has_profile, "it has no `seccompProfile`");
    let capabilities = &own["capabilities"];
    need(list(&capabilities["drop"]).any(|name| name == "ALL"), "it does not drop all capabilities");
    need(list(&capabilities["add"]).all(|name| name == "NET_BIND_SERVICE"), "it adds a capability");
    need(own["procMount"].is_null() || own["procMount"] == "Default", "`procMount` is not the default");
    need(
        list(&container["ports"]).all(|port| port["hostPort"].is_null() || port["hostPort"] == 0),
        "it takes a port of the node",
    );
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        for action in ["httpGet", "tcpSocket"] {
            need(container[probe][action]["host"].is_null(), &format!("its `{probe}` asks another host"));
        }
    }
    found
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn good() -> Value {
        json!({
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "volumes": [{"name": "a", "emptyDir": {}}],
            "containers": [{
                "name": "a",
                "ports": [{"containerPort": 80}],
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "readOnlyRootFilesystem": true,
                    "capabilities": {"drop": ["ALL"]},
                },
            }],
        })
    }

    #[test]
    fn a_pod_that_holds_to_the_profile_is_let_through() {
        assert_eq!(judge(&good()), Vec::<String>::new());
    }

    #[test]
    fn every_way_out_of_the_profile_is_found() {
        let check = |pointer: &str, value: Value, part: &str| {
            let mut pod = good();
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            let parent = pod.pointer_mut(parent).unwrap();
            match parent {
                Value::Object(map) => drop(map.insert(key.to_owned(), value)),
                Value::Array(items) => items[key.parse::<usize>().unwrap()] = value,
                _ => panic!("{pointer}"),
            }
            let found = judge(&pod);
            assert!(found.len() == 1 && found[0].contains(part), "{pointer}: {found:?}");
        };
        check("/hostNetwork", json!(true), "hostNetwork");
        check("/hostPID", json!(true), "hostPID");
        check("/hostIPC", json!(true), "hostIPC");
        check("/automountServiceAccountToken", json!(true), "automountServiceAccountToken");
        check("/enableServiceLinks", json!(null), "enableServiceLinks");
        check("/volumes/0", json!({"name": "a", "hostPath": {"path": "/"}}), "hostPath");
        check("/securityContext/runAsUser", json!(0), "runAsUser");
        check("/securityContext/runAsNonRoot", json!(null), "runAsNonRoot");
        check("/securityContext/seccompProfile", json!(null), "seccompProfile");
        check("/securityContext/seccompProfile", json!({"type": "Unconfined"}), "Unconfined");
        check("/securityContext/appArmorProfile", json!({"type": "Unconfined"}), "appArmorProfile");
        check("/securityContext/seLinuxOptions", json!({"type": "spc_t"}), "seLinuxOptions");
        check("/securityContext/windowsOptions", json!({"hostProcess": true}), "hostProcess");
        check("/securityContext/sysctls", json!([{"name": "kernel.msgmax", "value": "1"}]), "kernel.msgmax");
        let own = |key: &str| format!("/containers/0/securityContext/{key}");
        check(&own("privileged"), json!(true), "privileged");
        check(&own("allowPrivilegeEscalation"), json!(null), "allowPrivilegeEscalation");
        check(&own("readOnlyRootFilesystem"), json!(false), "readOnlyRootFilesystem");
        check(&own("capabilities"), json!({"drop": ["NET_RAW"]}), "drop all");
        check(&own("capabilities"), json!({"drop": ["ALL"], "add": ["SYS_ADMIN"]}), "adds");
        check(&own("procMount"), json!("Unmasked"), "procMount");
        check(&own("runAsUser"), json!(0), "runAsUser");
        check("/containers/0/ports", json!([{"containerPort": 80, "hostPort": 80}]), "node");
        check("/containers/0/livenessProbe", json!({"httpGet": {"host": "10.0.0.1"}}), "another host");
    }

    #[test]
    fn init_containers_and_pods_of_every_kind_are_looked_at() {
        let mut pod = good();
        pod["initContainers"] = json!([{"name": "i"}]);
        assert!(judge(&pod).iter().all(|trouble| trouble.contains("`i`")) && judge(&pod).len() == 3);
        for kind in ["Deployment", "StatefulSet", "DaemonSet", "Job"] {
            let object = json!({"kind": kind, "spec": {"template": {"spec": {"x": 1}}}});
            assert_eq!(self::pod(&object).unwrap()["x"], 1);
        }
        let cron = json!({"kind": "CronJob", "spec": {"jobTemplate": {"spec": {"template": {"spec": {"x": 1}}}}}});
        assert_eq!(self::pod(&cron).unwrap()["x"], 1);
        assert!(self::pod(&json!({"kind": "Service"})).is_none());
    }
}

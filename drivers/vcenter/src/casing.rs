//! An event's `data` as vCenter Event Broker's functions know it: the fields of Go's structures.
//!
//! Every name begins with a capital, `_type` is left out, and what a class may have and this event has not is there
//! all the same: `null` for structures and lists, an empty text, zero. Only the event's own fields and those of its
//! arguments are filled up so.

use serde_json::{Map, Value};

use crate::schema::{self, Field, Kind};

/// Fields that came after the broker.
const NEWER: [&str; 2] = ["auditId", "tgw"];

/// The same fields in the broker's way; `class` is the event's.
pub(crate) fn veba(fields: Map<String, Value>, class: &str) -> Map<String, Value> {
    let mut renamed = capitals(fields);
    let known = schema::fields_of(class).into_iter();
    for (name, field) in known.filter(|(name, _)| !NEWER.contains(name)) {
        renamed.entry(capital(name)).or_insert_with(|| absent(field));
    }
    renamed
}

fn capitals(fields: Map<String, Value>) -> Map<String, Value> {
    fields
        .into_iter()
        .filter(|(name, _)| name != "_type")
        .map(|(name, value)| (capital(&name), renamed(value)))
        .collect()
}

fn renamed(value: Value) -> Value {
    match value {
        Value::Object(fields) => capitals(fields).into(),
        Value::Array(items) => items.into_iter().map(renamed).collect(),
        other => other,
    }
}

fn capital(name: &str) -> String {
    let mut letters = name.chars();
    let first = letters.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

fn absent(field: Field) -> Value {
    match (field.list, field.kind) {
        (false, Kind::Text) => "".into(),
        (false, Kind::Integer | Kind::Float) => 0.into(),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::data;

    fn of(class: &str, inside: &str) -> Value {
        let text = format!("<e>{inside}</e>");
        let element = crate::xml::parse(&text).unwrap();
        veba(data::object(&element, class), class).into()
    }

    /// As printed in the broker's documentation of its events.
    #[test]
    fn a_power_on_is_as_the_broker_s_functions_know_it() {
        let got = of(
            "VmPoweredOnEvent",
            r#"<key>23192</key><chainId>23182</chainId><createdTime>2021-09-27T19:02:54.063Z</createdTime>
               <userName>VSPHERE.LOCAL\Administrator</userName>
               <datacenter><name>vcqaDC</name><datacenter type="Datacenter">datacenter-2</datacenter></datacenter>
               <computeResource><name>cls</name><computeResource type="ClusterComputeResource">domain-c7</computeResource></computeResource>
               <host><name>10.78.209.131</name><host type="HostSystem">host-33</host></host>
               <vm><name>test-vm-1</name><vm type="VirtualMachine">vm-45</vm></vm>
               <fullFormattedMessage>test-vm-1 on  10.78.209.131 in vcqaDC is powered on</fullFormattedMessage>
               <template>false</template>"#,
        );
        let want = json!({
            "Key": 23192, "ChainId": 23182, "CreatedTime": "2021-09-27T19:02:54.063Z",
            "UserName": "VSPHERE.LOCAL\\Administrator",
            "Datacenter": {"Name": "vcqaDC", "Datacenter": {"Type": "Datacenter", "Value": "datacenter-2"}},
            "ComputeResource": {"Name": "cls",
                "ComputeResource": {"Type": "ClusterComputeResource", "Value": "domain-c7"}},
            "Host": {"Name": "10.78.209.131", "Host": {"Type": "HostSystem", "Value": "host-33"}},
            "Vm": {"Name": "test-vm-1", "Vm": {"Type": "VirtualMachine", "Value": "vm-45"}},
            "Ds": null, "Net": null, "Dvs": null,
            "FullFormattedMessage": "test-vm-1 on  10.78.209.131 in vcqaDC is powered on",
            "ChangeTag": "", "Template": false,
        });
        assert_eq!(got, want);
    }

    #[test]
    fn a_logout_and_an_extended_event_are_too() {
        let logout = of(
            "UserLogoutSessionEvent",
            "<key>7775</key><ipAddress>127.0.0.1</ipAddress><callCount>34</callCount>",
        );
        assert_eq!(
            (&logout["IpAddress"], &logout["CallCount"], &logout["Vm"]),
            (&json!("127.0.0.1"), &json!(34), &Value::Null)
        );
        let extended = of(
            "EventEx",
            "<eventTypeId>esx.audit.ssh.enabled</eventTypeId><arguments><key>1</key><value>host</value></arguments>",
        );
        assert_eq!(extended["EventTypeId"], "esx.audit.ssh.enabled");
        assert_eq!(extended["Arguments"], json!([{"Key": "1", "Value": "host"}]));
    }
}

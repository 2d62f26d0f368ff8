// Reads objects of custom resources as JSON, and prints what is wrong with each of them: one line, empty when nothing is.
import { readFileSync } from "node:fs";

const packages = {
  "gateway.networking.k8s.io": "gateway-api",
  "keda.sh": "keda",
  "monitoring.coreos.com": "prometheus-operator",
};

for (const object of JSON.parse(readFileSync(0, "utf8"))) {
  const [group, version] = object.apiVersion.split("/");
  let trouble = "";
  if (!packages[group]) {
    trouble = `no description of the group ${group} is at hand`;
  } else {
    try {
      const models = await import(`@kubernetes-models/${packages[group]}/${group}/${version}/${object.kind}`);
      new models[object.kind](object).validate();
    } catch (error) {
      trouble = String(error.message ?? error);
    }
  }
  console.log(trouble.replaceAll("\n", " "));
}

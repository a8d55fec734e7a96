// Swagger UI on this server's OpenAPI document, with the demo key of an organization as its API key.

import { organizations } from "./api.js";

const SCHEME = "ApiKey"; // of components.securitySchemes
const select = document.getElementById("organization");

const dark = matchMedia("(prefers-color-scheme: dark)");
const followTheme = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", followTheme);
followTheme();

for (const { organization_id: organization, key } of await organizations()) select.add(new Option(organization, key));
select.add(new Option(select.length ? "none" : "no organization yet", ""));

const spec = await (await fetch(new URL("../openapi.json", import.meta.url), { cache: "no-store" })).json();
spec.servers = [{ url: new URL("..", import.meta.url).href.replace(/\/$/, "") }]; // it may be below a path prefix
// An example would be filled in, and an agent of one organization is none of the others'.
for (const parameter of spec.paths["/v1/sessions"].get.parameters) delete parameter.example;

const ui = window.SwaggerUIBundle({
  spec,
  dom_id: "#swagger-ui",
  deepLinking: true,
  docExpansion: "full",
  defaultModelsExpandDepth: 2,
  tryItOutEnabled: true,
  displayRequestDuration: true,
  validatorUrl: null, // it would ask a server elsewhere
  onComplete: authorize,
});

function authorize() {
  if (select.value) ui.preauthorizeApiKey(SCHEME, select.value);
  else ui.authActions.logout([SCHEME]);
  document.getElementById("authorized").textContent = select.value || "no key";
}

select.addEventListener("change", authorize);

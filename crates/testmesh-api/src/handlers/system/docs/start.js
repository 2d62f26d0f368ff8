// Shows this server's own OpenAPI document. A file of its own, because the page's policy allows no inline script.
SwaggerUIBundle({
  url: "/api/openapi.json",
  dom_id: "#api",
  deepLinking: true,
  validatorUrl: null,
});

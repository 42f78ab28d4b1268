/**
 * The documentation pages and what they load beside the embedded libraries. All addresses are relative to the page or to its
 * script, so that they are right under whatever path a proxy shows the service.
 */

const head = `<meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <meta name="color-scheme" content="light dark">
  <title>Parley</title>
  <link rel="icon" href="data:,">`;

/** `root` leads from the page to the root of the service: `./` or `../`. */
export const swaggerPage = (root: string) => `<!doctype html>
<html lang="en">
<head>
  ${head}
  <link rel="stylesheet" href="${root}docs/swagger-ui.css">
  <link rel="stylesheet" href="${root}docs/swagger-page.css">
</head>
<body>
  <div id="swagger-ui"></div>
  <script src="${root}docs/swagger-ui.js"></script>
  <script src="${root}docs/swagger-init.js"></script>
</body>
</html>
`;

export const redocPage = (root: string) => `<!doctype html>
<html lang="en">
<head>
  ${head}
  <link rel="stylesheet" href="${root}docs/redoc-page.css">
</head>
<body>
  <div id="redoc"></div>
  <script src="${root}docs/redoc.js"></script>
  <script src="${root}docs/redoc-init.js"></script>
</body>
</html>
`;

/** What both pages begin with: the document, with the server where the page itself came from. */
const load = `const root = new URL("..", document.currentScript.src);
const dark = matchMedia("(prefers-color-scheme: dark)");

async function loadDocument() {
  const response = await fetch(new URL("openapi.json", root));
  if (!response.ok) throw new Error("openapi.json: " + response.status);
  const spec = await response.json();
  spec.servers = [{ url: root.pathname.replace(/\\/$/, "") || "/" }];
  return spec;
}
`;

const swaggerInit = `${load}
// Streams of events never end by themselves: they are read for so long, and what came is shown.
const READ_MS = 5000;

async function fetchForAWhile(url, request) {
  const response = await fetch(url, request);
  const isStream = (response.headers.get("content-type") || "").startsWith("text/event-stream");
  if (!isStream || !/\\/events([?]|$)/.test(url)) return response;
  const reader = response.body.getReader();
  const leave = setTimeout(() => reader.cancel(), READ_MS);
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    text += decoder.decode(value, { stream: true });
  }
  clearTimeout(leave);
  text += ": This page has read for " + READ_MS / 1000 + " s; the stream itself goes on.\\n\\n";
  return new Response(text, { status: response.status, headers: response.headers });
}

const paint = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", paint);
paint();

loadDocument().then((spec) =>
  SwaggerUIBundle({
    spec,
    dom_id: "#swagger-ui",
    deepLinking: true,
    displayRequestDuration: true,
    tryItOutEnabled: true,
    validatorUrl: null,
    requestInterceptor: (request) => Object.assign(request, { userFetch: fetchForAWhile }),
  }),
);
`;

/** All errors look alike: each operation shows once what they look like, beside its first. */
const swaggerStyle = `.swagger-ui .response[data-code^="4"] ~ .response .response-col_description > :not(:first-child) { display: none }
.swagger-ui .response[data-code^="4"] ~ .response .response-col_links { visibility: hidden }
@media (prefers-color-scheme: dark) { body { background: #1c2022 } }
`;

const redocInit = `${load}
const DARK = {
  colors: {
    primary: { main: "#7cb3ff" },
    text: { primary: "#e4e6e6", secondary: "#b7bcbf" },
    border: { dark: "#3a4146", light: "#2c3236" },
    gray: { 50: "#262b2e", 100: "#2c3236" },
    responses: {
      success: { color: "#5dd28e", backgroundColor: "#16301f", tabTextColor: "#5dd28e" },
      error: { color: "#ff8f8f", backgroundColor: "#361c1c", tabTextColor: "#ff8f8f" },
    },
  },
  schema: { nestedBackground: "#23282b", linesColor: "#4a5257", typeNameColor: "#b7bcbf", typeTitleColor: "#b7bcbf", requireLabelColor: "#ff8f8f" },
  sidebar: { backgroundColor: "#16191b", textColor: "#e4e6e6" },
  typography: { code: { color: "#b68ae1", backgroundColor: "#0d1014" }, links: { color: "#7cb3ff", visited: "#7cb3ff", hover: "#a9cdff" } },
  rightPanel: { backgroundColor: "#111416" },
};

loadDocument().then((spec) =>
  Redoc.init(spec, { theme: dark.matches ? DARK : {} }, document.getElementById("redoc")),
);
`;

/** What its theme does not reach. */
const redocStyle = `body { margin: 0 }
@media (prefers-color-scheme: dark) {
  body { background: #1c2022 }
  #redoc h5, #redoc h5 span, #redoc h5 button { color: #b7bcbf; border-color: #3a4146 }
  #redoc h5 svg polygon { fill: #b7bcbf }
}
`;

type File = { type: string; text: string };
const script = (text: string): File => ({ type: "text/javascript; charset=utf-8", text });
const style = (text: string): File => ({ type: "text/css; charset=utf-8", text });

/** The files of our own that the pages load. */
export const FILES: Readonly<Record<string, File>> = {
  "swagger-init.js": script(swaggerInit),
  "swagger-page.css": style(swaggerStyle),
  "redoc-init.js": script(redocInit),
  "redoc-page.css": style(redocStyle),
};

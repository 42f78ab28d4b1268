/** What a reader of the documentation has to know before any single route; CommonMark. */
export const INTRODUCTION = `Parley remembers conversations and dispatches each turn to a model. One conversation can be used on every
surface below: the groups *Chats*, *Conversations*, *Send*, *Coaching* and *Sessions* spell the same thing in the words of different clients.

To try it in Swagger UI (\`/docs\`), press **Execute** on *Make a chat*, copy the \`id\` from the answer, and paste it wherever a route asks for one:
into an empty field of its path, or in place of \`00000000-0000-0000-0000-000000000000\` in its body.

### Authentication

An **open** service needs none: a request says for itself who it is, with \`user_id\` or the header \`X-User-Id\`. A **closed** one needs
\`Authorization: Bearer …\`: a JWT, or the key of a service (the **Authorize** button takes one). A user sees only its own conversations;
somebody else's are answered with 404, as unknown ones are.

### Errors

Every error is \`application/problem+json\` ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)): \`detail\` is a sentence for a person, \`code\`
is for a program, \`request_id\` finds the line in the log, and a 422 has \`errors\` with the \`path\` of each field that is wrong. The codes that a
route may answer with stand beside its statuses. A 429 says in \`Retry-After\` when to come again.

### Streaming

Every route that sends a message takes \`"stream": true\`, or \`Accept: text/event-stream\`, and then answers with server-sent events:
\`turn.started\`, \`message.delta\` with a piece of \`text\`, and last \`turn.completed\`, \`turn.failed\` or \`turn.cancelled\`. On \`message.restart\`
discard the text so far. A turn goes on when its reader leaves: \`GET /api/v1/turns/{turn_id}/stream\` with \`Last-Event-ID\` picks it up again.

The \`…/events\` routes never end by themselves. Swagger UI reads them for five seconds and shows what came.

### Idempotency

Send an \`Idempotency-Key\` (1 to 255 visible ASCII characters) with a POST that creates or runs something: the same key and body from the same
user give the first result again for 24 hours. A turn that is still running is joined, not run twice; one that failed is run again.
`;

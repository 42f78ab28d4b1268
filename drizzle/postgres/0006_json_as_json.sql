-- JSON that was stored in a batch of several statements is a JSON string that holds it: here it becomes what it holds.
UPDATE "turns" SET "options" = ("options" #>> '{}')::json WHERE json_typeof("options") = 'string';--> statement-breakpoint
UPDATE "turns" SET "usage" = ("usage" #>> '{}')::json WHERE json_typeof("usage") = 'string';--> statement-breakpoint
UPDATE "turns" SET "attempts" = ("attempts" #>> '{}')::json WHERE json_typeof("attempts") = 'string';--> statement-breakpoint
UPDATE "turns" SET "error" = ("error" #>> '{}')::json WHERE json_typeof("error") = 'string';--> statement-breakpoint
UPDATE "turns" SET "context" = ("context" #>> '{}')::json WHERE json_typeof("context") = 'string';--> statement-breakpoint
UPDATE "conversations" SET "metadata" = ("metadata" #>> '{}')::json WHERE json_typeof("metadata") = 'string';--> statement-breakpoint
UPDATE "messages" SET "metadata" = ("metadata" #>> '{}')::json WHERE json_typeof("metadata") = 'string';--> statement-breakpoint
UPDATE "message_extensions" SET "data" = ("data" #>> '{}')::json WHERE json_typeof("data") = 'string';--> statement-breakpoint
UPDATE "idempotency_keys" SET "response" = ("response" #>> '{}')::json WHERE json_typeof("response") = 'string';

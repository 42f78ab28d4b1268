CREATE TABLE "erasures" (
	"user_id" text PRIMARY KEY NOT NULL,
	"erased_at" bigint NOT NULL
);
--> statement-breakpoint
CREATE INDEX "extensions_by_author" ON "message_extensions" USING btree ("author_id","id") WHERE author_id is not null;--> statement-breakpoint
CREATE INDEX "messages_by_sender" ON "messages" USING btree ("sender_id","id") WHERE sender_id is not null;--> statement-breakpoint
CREATE INDEX "messages_to_erase" ON "messages" USING btree ("deleted_at") WHERE deleted_at is not null and erased_at is null;--> statement-breakpoint
CREATE INDEX "read_markers_by_reader" ON "read_markers" USING btree ("reader_id","conversation_id");--> statement-breakpoint
-- Whose a deleted conversation was is kept until the webhook has been told of it, and no longer.
UPDATE "tombstones" SET "user_id" = '' WHERE "rev" <= "told";--> statement-breakpoint
-- What a turn was asked for went with its conversation in none of the versions before.
UPDATE "turns" SET "options" = NULL WHERE "options" IS NOT NULL AND NOT EXISTS (SELECT 1 FROM "conversations" WHERE "conversations"."id" = "turns"."conversation_id");

CREATE TABLE "read_markers" (
	"conversation_id" uuid NOT NULL,
	"reader_id" text NOT NULL,
	"seq" integer NOT NULL,
	CONSTRAINT "read_markers_conversation_id_reader_id_pk" PRIMARY KEY("conversation_id","reader_id")
);
--> statement-breakpoint
ALTER TABLE "conversations" ADD COLUMN "queued_at" bigint;--> statement-breakpoint
ALTER TABLE "conversations" ADD COLUMN "told" integer DEFAULT 2147483647 NOT NULL;--> statement-breakpoint
ALTER TABLE "tombstones" ADD COLUMN "told" integer DEFAULT 2147483647 NOT NULL;--> statement-breakpoint
ALTER TABLE "read_markers" ADD CONSTRAINT "read_markers_conversation_id_conversations_id_fk" FOREIGN KEY ("conversation_id") REFERENCES "public"."conversations"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "conversations_waiting" ON "conversations" USING btree ("queued_at","id") WHERE control = 'queue';--> statement-breakpoint
CREATE INDEX "conversations_by_agent" ON "conversations" USING btree ("agent_id","updated_at") WHERE agent_id is not null;--> statement-breakpoint
CREATE INDEX "conversations_untold" ON "conversations" USING btree ("id") WHERE rev > told;--> statement-breakpoint
CREATE INDEX "messages_by_change" ON "messages" USING btree ("conversation_id","rev");--> statement-breakpoint
CREATE INDEX "tombstones_untold" ON "tombstones" USING btree ("id") WHERE rev > told;
CREATE TABLE "mirrorings" (
	"id" uuid PRIMARY KEY NOT NULL,
	"lease_until" bigint,
	"attempts" integer DEFAULT 0 NOT NULL,
	"retry_at" bigint,
	"error" text
);
--> statement-breakpoint
CREATE TABLE "stream_channels" (
	"id" uuid PRIMARY KEY NOT NULL,
	"stream_id" text NOT NULL
);
--> statement-breakpoint
CREATE TABLE "stream_events" (
	"id" text PRIMARY KEY NOT NULL,
	"event" json,
	"received_at" bigint NOT NULL,
	"lease_until" bigint,
	"attempts" integer DEFAULT 0 NOT NULL,
	"retry_at" bigint,
	"done_at" bigint,
	"error" text
);
--> statement-breakpoint
CREATE TABLE "stream_messages" (
	"id" uuid PRIMARY KEY NOT NULL,
	"stream_id" text NOT NULL,
	"changed_at" bigint NOT NULL
);
--> statement-breakpoint
ALTER TABLE "conversations" ADD COLUMN "mirrored" integer DEFAULT 2147483647 NOT NULL;--> statement-breakpoint
ALTER TABLE "tombstones" ADD COLUMN "mirrored" integer DEFAULT 2147483647 NOT NULL;--> statement-breakpoint
ALTER TABLE "stream_messages" ADD CONSTRAINT "stream_messages_id_messages_id_fk" FOREIGN KEY ("id") REFERENCES "public"."messages"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "stream_events_due" ON "stream_events" USING btree ("received_at","id") WHERE done_at is null;--> statement-breakpoint
CREATE INDEX "stream_events_done" ON "stream_events" USING btree ("done_at");--> statement-breakpoint
CREATE INDEX "conversations_unmirrored" ON "conversations" USING btree ("id") WHERE rev > mirrored;--> statement-breakpoint
CREATE INDEX "tombstones_unmirrored" ON "tombstones" USING btree ("id") WHERE rev > mirrored;
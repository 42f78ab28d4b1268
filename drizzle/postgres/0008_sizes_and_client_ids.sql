ALTER TABLE "conversations" ADD COLUMN "client_id" text;--> statement-breakpoint
ALTER TABLE "messages" ADD COLUMN "erased_at" bigint;--> statement-breakpoint
ALTER TABLE "messages" ADD COLUMN "size" integer GENERATED ALWAYS AS (octet_length(content)) STORED NOT NULL;--> statement-breakpoint
ALTER TABLE "turns" ADD COLUMN "request_id" text;--> statement-breakpoint
CREATE UNIQUE INDEX "conversations_by_client_id" ON "conversations" USING btree ("user_id","client_id") WHERE client_id is not null;
CREATE TABLE "deliveries" (
	"id" uuid PRIMARY KEY NOT NULL,
	"lease_until" bigint,
	"attempts" integer DEFAULT 0 NOT NULL,
	"retry_at" bigint,
	"error" text
);

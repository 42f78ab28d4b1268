ALTER TABLE "turns" ADD COLUMN "options" json;--> statement-breakpoint
CREATE INDEX "turns_by_user" ON "turns" USING btree ("user_id","created_at");
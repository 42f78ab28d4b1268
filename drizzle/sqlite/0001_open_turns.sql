DROP INDEX `turns_waiting`;--> statement-breakpoint
CREATE INDEX `turns_open` ON `turns` (`conversation_id`) WHERE status in ('queued', 'in_progress');
DROP INDEX `conversations_waiting`;--> statement-breakpoint
DROP INDEX `conversations_by_agent`;--> statement-breakpoint
CREATE INDEX `conversations_waiting` ON `conversations` (`queued_at`,`id`) WHERE control = 'queue' and status <> 'ended';--> statement-breakpoint
CREATE INDEX `conversations_by_agent` ON `conversations` (`agent_id`,`updated_at`) WHERE control = 'agent' and status <> 'ended';--> statement-breakpoint
CREATE INDEX `messages_listed` ON `messages` (`conversation_id`,`seq`,`sender_id`) WHERE role <> 'system' and status in ('completed', 'incomplete') and size > 0 and deleted_at is null and superseded_at is null;
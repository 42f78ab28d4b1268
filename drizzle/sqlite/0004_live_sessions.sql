CREATE TABLE `read_markers` (
	`conversation_id` text NOT NULL,
	`reader_id` text NOT NULL,
	`seq` integer NOT NULL,
	PRIMARY KEY(`conversation_id`, `reader_id`),
	FOREIGN KEY (`conversation_id`) REFERENCES `conversations`(`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
ALTER TABLE `conversations` ADD `queued_at` integer;--> statement-breakpoint
ALTER TABLE `conversations` ADD `told` integer DEFAULT 2147483647 NOT NULL;--> statement-breakpoint
CREATE INDEX `conversations_waiting` ON `conversations` (`queued_at`,`id`) WHERE control = 'queue';--> statement-breakpoint
CREATE INDEX `conversations_by_agent` ON `conversations` (`agent_id`,`updated_at`) WHERE agent_id is not null;--> statement-breakpoint
CREATE INDEX `conversations_untold` ON `conversations` (`id`) WHERE rev > told;--> statement-breakpoint
ALTER TABLE `tombstones` ADD `told` integer DEFAULT 2147483647 NOT NULL;--> statement-breakpoint
CREATE INDEX `tombstones_untold` ON `tombstones` (`id`) WHERE rev > told;--> statement-breakpoint
CREATE INDEX `messages_by_change` ON `messages` (`conversation_id`,`rev`);
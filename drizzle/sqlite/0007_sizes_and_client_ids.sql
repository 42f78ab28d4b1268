ALTER TABLE `conversations` ADD `client_id` text;--> statement-breakpoint
CREATE UNIQUE INDEX `conversations_by_client_id` ON `conversations` (`user_id`,`client_id`) WHERE client_id is not null;--> statement-breakpoint
ALTER TABLE `turns` ADD `request_id` text;--> statement-breakpoint
-- A stored generated column can only be had by building the table anew, which also puts its long columns last.
CREATE TABLE `__new_messages` (
	`id` text PRIMARY KEY NOT NULL,
	`conversation_id` text NOT NULL,
	`turn_id` text,
	`seq` integer NOT NULL,
	`rev` integer NOT NULL,
	`role` text NOT NULL,
	`sender_id` text,
	`status` text NOT NULL,
	`model` text,
	`created_at` integer NOT NULL,
	`edited_at` integer,
	`deleted_at` integer,
	`erased_at` integer,
	`superseded_at` integer,
	`size` integer GENERATED ALWAYS AS (octet_length(content)) STORED NOT NULL,
	`metadata` text,
	`content` text NOT NULL,
	FOREIGN KEY (`conversation_id`) REFERENCES `conversations`(`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
INSERT INTO `__new_messages` (`id`, `conversation_id`, `turn_id`, `seq`, `rev`, `role`, `sender_id`, `status`, `model`, `created_at`, `edited_at`, `deleted_at`, `superseded_at`, `metadata`, `content`)
SELECT `id`, `conversation_id`, `turn_id`, `seq`, `rev`, `role`, `sender_id`, `status`, `model`, `created_at`, `edited_at`, `deleted_at`, `superseded_at`, `metadata`, `content` FROM `messages`;--> statement-breakpoint
DROP TABLE `messages`;--> statement-breakpoint
ALTER TABLE `__new_messages` RENAME TO `messages`;--> statement-breakpoint
CREATE UNIQUE INDEX `messages_in_order` ON `messages` (`conversation_id`,`seq`);--> statement-breakpoint
CREATE INDEX `messages_by_change` ON `messages` (`conversation_id`,`rev`);

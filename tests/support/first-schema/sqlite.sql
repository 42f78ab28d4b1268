CREATE TABLE `conversations` (
	`id` text PRIMARY KEY NOT NULL,
	`user_id` text NOT NULL,
	`agent_id` text,
	`title` text,
	`is_live` integer DEFAULT false NOT NULL,
	`status` text DEFAULT 'active' NOT NULL,
	`control` text DEFAULT 'assistant' NOT NULL,
	`system_prompt` text,
	`metadata` text,
	`rev` integer DEFAULT 0 NOT NULL,
	`message_count` integer DEFAULT 0 NOT NULL,
	`last_message` text,
	`open_turns` integer DEFAULT 0 NOT NULL,
	`created_at` integer NOT NULL,
	`updated_at` integer NOT NULL,
	`ended_at` integer,
	`previous_id` text
);
--> statement-breakpoint
CREATE INDEX `conversations_by_user` ON `conversations` (`user_id`,`updated_at`,`id`);--> statement-breakpoint
CREATE TABLE `idempotency_keys` (
	`user_id` text NOT NULL,
	`key` text NOT NULL,
	`request_hash` text NOT NULL,
	`turn_id` text,
	`response` text,
	`expires_at` integer NOT NULL,
	PRIMARY KEY(`user_id`, `key`)
);
--> statement-breakpoint
CREATE INDEX `idempotency_keys_by_expiry` ON `idempotency_keys` (`expires_at`);--> statement-breakpoint
CREATE TABLE `message_extensions` (
	`id` text PRIMARY KEY NOT NULL,
	`message_id` text NOT NULL,
	`type` text NOT NULL,
	`author_id` text,
	`data` text NOT NULL,
	`created_at` integer NOT NULL,
	FOREIGN KEY (`message_id`) REFERENCES `messages`(`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE INDEX `extensions_by_message` ON `message_extensions` (`message_id`);--> statement-breakpoint
CREATE TABLE `messages` (
	`id` text PRIMARY KEY NOT NULL,
	`conversation_id` text NOT NULL,
	`turn_id` text,
	`seq` integer NOT NULL,
	`rev` integer NOT NULL,
	`role` text NOT NULL,
	`sender_id` text,
	`content` text NOT NULL,
	`status` text NOT NULL,
	`model` text,
	`metadata` text,
	`created_at` integer NOT NULL,
	`edited_at` integer,
	`deleted_at` integer,
	`superseded_at` integer,
	FOREIGN KEY (`conversation_id`) REFERENCES `conversations`(`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE UNIQUE INDEX `messages_in_order` ON `messages` (`conversation_id`,`seq`);--> statement-breakpoint
CREATE TABLE `tombstones` (
	`id` text PRIMARY KEY NOT NULL,
	`user_id` text NOT NULL,
	`rev` integer NOT NULL,
	`deleted_at` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `turns` (
	`id` text PRIMARY KEY NOT NULL,
	`conversation_id` text NOT NULL,
	`user_id` text NOT NULL,
	`user_message_id` text NOT NULL,
	`message_id` text NOT NULL,
	`status` text NOT NULL,
	`model` text NOT NULL,
	`target` text,
	`restarts` integer DEFAULT 0 NOT NULL,
	`finish_reason` text,
	`usage` text,
	`cost` real,
	`attempts` text,
	`error` text,
	`context` text,
	`lease_until` integer,
	`cancel_requested_at` integer,
	`created_at` integer NOT NULL,
	`completed_at` integer
);
--> statement-breakpoint
CREATE UNIQUE INDEX `turns_running` ON `turns` (`conversation_id`) WHERE status = 'in_progress';--> statement-breakpoint
CREATE INDEX `turns_waiting` ON `turns` (`conversation_id`) WHERE status = 'queued';
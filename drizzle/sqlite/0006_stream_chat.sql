CREATE TABLE `mirrorings` (
	`id` text PRIMARY KEY NOT NULL,
	`lease_until` integer,
	`attempts` integer DEFAULT 0 NOT NULL,
	`retry_at` integer,
	`error` text
);
--> statement-breakpoint
CREATE TABLE `stream_channels` (
	`id` text PRIMARY KEY NOT NULL,
	`stream_id` text NOT NULL
);
--> statement-breakpoint
CREATE TABLE `stream_events` (
	`id` text PRIMARY KEY NOT NULL,
	`event` text,
	`received_at` integer NOT NULL,
	`lease_until` integer,
	`attempts` integer DEFAULT 0 NOT NULL,
	`retry_at` integer,
	`done_at` integer,
	`error` text
);
--> statement-breakpoint
CREATE INDEX `stream_events_due` ON `stream_events` (`received_at`,`id`) WHERE done_at is null;--> statement-breakpoint
CREATE INDEX `stream_events_done` ON `stream_events` (`done_at`);--> statement-breakpoint
CREATE TABLE `stream_messages` (
	`id` text PRIMARY KEY NOT NULL,
	`stream_id` text NOT NULL,
	`changed_at` integer NOT NULL,
	FOREIGN KEY (`id`) REFERENCES `messages`(`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
ALTER TABLE `conversations` ADD `mirrored` integer DEFAULT 2147483647 NOT NULL;--> statement-breakpoint
CREATE INDEX `conversations_unmirrored` ON `conversations` (`id`) WHERE rev > mirrored;--> statement-breakpoint
ALTER TABLE `tombstones` ADD `mirrored` integer DEFAULT 2147483647 NOT NULL;--> statement-breakpoint
CREATE INDEX `tombstones_unmirrored` ON `tombstones` (`id`) WHERE rev > mirrored;
# The binary alone on a base without a shell. SQLite lives in /data, unless DATABASE_URL says otherwise.

FROM --platform=$BUILDPLATFORM node:26-trixie-slim AS build
WORKDIR /parley
COPY .npmrc package.json package-lock.json ./
RUN npm ci --no-audit
COPY build build
COPY drizzle drizzle
COPY src src
ARG TARGETARCH
RUN npm run build:binary -- --target="bun-linux-$(echo "$TARGETARCH" | sed s/amd64/x64/)" --outfile=dist/parley && mkdir data

FROM gcr.io/distroless/cc-debian13:nonroot
COPY --from=build /parley/dist/parley /usr/local/bin/parley
COPY --from=build --chown=65532:65532 /parley/data /data
# The binary unpacks its SQLite driver to where it may write and run it: a tmpfs is noexec as a rule.
ENV HOST=0.0.0.0 PORT=8000 DATABASE_URL=sqlite:////data/parley.db TMPDIR=/data LOG_FORMAT=json
WORKDIR /data
VOLUME /data
EXPOSE 8000
USER 65532:65532
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["/usr/local/bin/parley", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/parley"]

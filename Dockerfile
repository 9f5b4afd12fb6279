# An image for pipelines: `docker build -t omni-scale .`, then
#
#   docker run --rm -v "$PWD:/project" omni-scale machineclass-check --offline
FROM rust:1.95.0-alpine AS build
RUN apk add --no-cache musl-dev
WORKDIR /src
COPY . .
RUN cargo build --release --locked --package xtask --package lab --bin xtask --bin lab

FROM alpine:3.22
RUN apk add --no-cache bash ca-certificates curl git gnupg
COPY --from=build /src/target/release/xtask /usr/local/bin/omni-scale
COPY --from=build /src/target/release/lab /usr/local/bin/omni-scale-lab
WORKDIR /project
ENTRYPOINT ["omni-scale"]

"""Finds the samples two parties have in common: the smallest pipeline that involves both.

Upload a table on each side first, for example with `flow data upload`, then:

    python pipeline/intersect.py --guest 9999 --host 10000 --guest-table guest --host-table host --namespace experiment
"""

import argparse

from pipeline.backend.pipeline import PipeLine
from pipeline.component import DataTransform, Intersection, Reader
from pipeline.interface import Data


def build(guest: int, host: int, guest_table: str, host_table: str, namespace: str) -> PipeLine:
    """The compiled pipeline: read, transform, intersect."""
    pipeline = PipeLine().set_initiator(role="guest", party_id=guest).set_roles(guest=guest, host=host)

    reader = Reader(name="reader_0")
    reader.get_party_instance(role="guest", party_id=guest).component_param(
        table={"name": guest_table, "namespace": namespace}
    )
    reader.get_party_instance(role="host", party_id=host).component_param(
        table={"name": host_table, "namespace": namespace}
    )
    transform = DataTransform(name="data_transform_0", output_format="dense")
    transform.get_party_instance(role="guest", party_id=guest).component_param(with_label=True)
    transform.get_party_instance(role="host", party_id=host).component_param(with_label=False)
    intersection = Intersection(name="intersection_0")

    pipeline.add_component(reader)
    pipeline.add_component(transform, data=Data(data=reader.output.data))
    pipeline.add_component(intersection, data=Data(data=transform.output.data))
    pipeline.compile()
    return pipeline


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--guest", type=int, required=True, help="party id of the guest, who starts the job")
    parser.add_argument("--host", type=int, required=True, help="party id of the host")
    parser.add_argument("--guest-table", required=True)
    parser.add_argument("--host-table", required=True)
    parser.add_argument("--namespace", default="experiment")
    options = parser.parse_args()
    pipeline = build(options.guest, options.host, options.guest_table, options.host_table, options.namespace)
    pipeline.fit()
    print(pipeline.get_component("intersection_0").get_summary())


if __name__ == "__main__":
    main()
